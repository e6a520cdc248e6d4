/** -kernel, -initrd, -append, -bios, -L, and the drives. */
import { VmError } from "../../base/errors.js";
import { DRIVERS, parseOptionTree, readNodeOptions } from "../../block/blockdev-options.js";
import type { Draft, OptionGroup, OptionSpec } from "./draft.js";
import { splitList, toMap } from "./grammar.js";

/** A value QEMU requires to be non-empty where it names a file. */
function nonEmpty(value: string, origin: string): string {
  if (value === "") throw new VmError("option/missing", `${origin}: a file name is needed`);
  return value;
}

function drive(names: readonly string[], what: string, props: { [name: string]: string }): OptionSpec {
  return {
    names,
    argument: "file",
    help: [what],
    parse: (draft, value, origin) =>
      void draft.drives.push({ props: new Map([...Object.entries(props), ["file", nonEmpty(value, origin)]]), origin }),
  };
}

/** The disk image that stands alone on the command line. */
export function addDiskImage(draft: Draft, path: string): void {
  draft.drives.push({ props: new Map(Object.entries({ if: "ide", index: "0", media: "disk", file: path })), origin: path });
}

export const BLOCK: OptionGroup = {
  heading: "Block device options",
  options: [
    drive(["fda"], "use 'file' as floppy disk 0 image", { if: "floppy", index: "0" }),
    drive(["fdb"], "use 'file' as floppy disk 1 image", { if: "floppy", index: "1" }),
    drive(["hda"], "use 'file' as hard disk 0 image", { if: "ide", index: "0", media: "disk" }),
    drive(["hdb"], "use 'file' as hard disk 1 image", { if: "ide", index: "1", media: "disk" }),
    drive(["hdc"], "use 'file' as hard disk 2 image", { if: "ide", index: "2", media: "disk" }),
    drive(["hdd"], "use 'file' as hard disk 3 image", { if: "ide", index: "3", media: "disk" }),
    drive(["cdrom"], "use 'file' as CD-ROM image", { if: "ide", index: "2", media: "cdrom" }),
    {
      names: ["drive"],
      argument: "[file=file][,if=type][,bus=n][,unit=m][,media=d][,index=i][,id=name]...",
      help: [
        "use 'file' as a drive image",
        "[,format=raw|qcow2][,readonly=on|off][,snapshot=on|off][,cache=writeback|writethrough|none|directsync|unsafe]",
        "[,discard=ignore|unmap][,werror=ignore|stop|report|enospc][,rerror=ignore|stop|report]",
        "if: ide, floppy, virtio, none",
      ],
      parse: (draft, value, origin) => void draft.drives.push({ props: toMap(splitList(value)), origin }),
    },
    {
      names: ["blockdev"],
      argument: "[driver=]driver[,node-name=N][,discard=ignore|unmap][,cache.no-flush=on|off][,read-only=on|off]...",
      help: ["configure a block backend, also as JSON", `drivers: ${Object.keys(DRIVERS).join(", ")}`],
      parse: (draft, value, origin) => {
        const options = readNodeOptions(
          parseOptionTree(value, origin, (text) => splitList(text, "driver")),
          origin,
        );
        if (options.nodeName === undefined)
          throw new VmError("option/missing", `${origin}: 'node-name' must be specified for the root node`);
        if (draft.blockdevs.some((b) => b.options.nodeName === options.nodeName))
          throw new VmError("option/invalid", `${origin}: Duplicate nodes with node-name='${options.nodeName}'`);
        draft.blockdevs.push({ options, origin });
      },
    },
    {
      names: ["snapshot"],
      help: ["write to memory instead of disk image files"],
      parse: (d) => {
        d.snapshot = true;
      },
    },
  ],
};

export const BOOT: OptionGroup = {
  heading: "Boot Image or Kernel specific",
  options: [
    {
      names: ["bios"],
      argument: "file",
      help: ["set the filename for the BIOS"],
      parse: (d, v, o) => {
        d.bios = nonEmpty(v, o);
      },
    },
    {
      names: ["kernel"],
      argument: "bzImage",
      help: ["use 'bzImage' (or a multiboot or PVH kernel) as kernel image"],
      parse: (d, v, o) => {
        d.kernel = nonEmpty(v, o);
      },
    },
    {
      names: ["append"],
      argument: "cmdline",
      help: ["use 'cmdline' as kernel command line"],
      parse: (d, v) => {
        d.append = v;
      },
    },
    {
      names: ["initrd"],
      argument: "file",
      help: ["use 'file' as initial ram disk; \"file args,file args\" as multiboot modules"],
      parse: (d, v, o) => {
        d.initrd = nonEmpty(v, o);
      },
    },
    {
      names: ["L"],
      argument: "path",
      help: ["look for firmware in 'path' first"],
      parse: (d, v, o) => void d.firmwarePath.push(nonEmpty(v, o)),
    },
  ],
};
