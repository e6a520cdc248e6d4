/** The device tree against the one of Debian's QEMU for the same machine. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianTest } from "../../../testkit/debian.js";
import { PrintAndExit } from "../../cli/options/draft.js";
import { parseCommandLine } from "../../cli/options/parse.js";
import { nodeHost } from "../../host/node/index.js";
import { createBoard } from "../../machine/boards.js";
import { deviceTypes } from "../../machine/device-types.js";
import { Machine } from "../../machine/vm.js";
import { parseFdt } from "../fdt/parse.js";
import type { FdtNode } from "../fdt/tree.js";

/** What differs on purpose: see the file's "Not there", and the properties of this machine alone. */
const ABSENT =
  /^(ibm,drc-|ibm,my-drc-index|ibm,associativity|ibm,max-associativity|ibm,lrdr|ibm,extended-os-term|ibm,ddw|ibm,dfp|ibm,purr|ibm,spurr|ibm,eeh|hot-plug)/;
const DIFFERENT: { readonly [property: string]: string } = {
  "rng-seed": "random",
  "ibm,hypertas-functions": "the calls there are",
  "ibm,pa-features": "no decimal floating point",
  "rtas-size": "the size of this entry code",
  "interrupt-ranges": "no hot-plug events",
  "ibm,loc-code": "a name",
  "qemu,boot-device": "QEMU has it from the second start on",
  bootargs: "QEMU leaves an empty one out",
};
const ABSENT_NODES = new Set(["hot-plug-events", "ibm,persistent-memory"]);
/** RTAS tokens are the platform's own numbers. */
const isToken = (value: Uint8Array | undefined) => value?.length === 4 && value[2] === 0x20 && value[0] === 0 && value[1] === 0;

function compare(ours: FdtNode | undefined, theirs: FdtNode, path: string, wrong: string[]): void {
  if (!ours) {
    wrong.push(`${path}: not there`);
    return;
  }
  for (const [name, value] of theirs.properties) {
    if (ABSENT.test(name) || name in DIFFERENT) continue;
    const mine = ours.properties.get(name);
    if (path === "/rtas" && isToken(value)) continue;
    if (!mine || Buffer.compare(mine, value) !== 0)
      wrong.push(
        `${path} ${name}: ${mine ? Buffer.from(mine).toString("hex") : "absent"}, QEMU ${Buffer.from(value).toString("hex")}`,
      );
  }
  for (const name of ours.properties.keys())
    if (!theirs.properties.has(name) && !(name in DIFFERENT) && path !== "/rtas") wrong.push(`${path} ${name}: only here`);
  for (const child of theirs.children)
    if (!ABSENT_NODES.has(child.name)) compare(ours.find(child.name), child, `${path === "/" ? "" : path}/${child.name}`, wrong);
}

/** The tree that firmware finds in r3. */
async function ourTree(args: readonly string[]): Promise<FdtNode> {
  const config = parseCommandLine(args, { program: "t", arch: "ppc64", deviceTypes: deviceTypes("ppc64") });
  assert.ok(!(config instanceof PrintAndExit));
  const machine = await Machine.create(config, { host: nodeHost("t"), createBoard, openMonitor: () => {} });
  try {
    const at = Number(machine.inspect.register(0, "r3"));
    const bytes = new Uint8Array(0x200000);
    machine.inspect.addressSpaces()[0]!.readBytes(at, bytes);
    return parseFdt(bytes);
  } finally {
    machine.quit();
    await machine.ended;
  }
}

const machines: readonly string[][] = [
  ["-m", "512", "-smp", "2"],
  ["-m", "1G", "-cpu", "POWER8", "-name", "lpar", "-uuid", "12345678-1234-1234-1234-123456789abc"],
  ["-m", "512", "-machine", "ic-mode=xive"],
  ["-m", "256", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci,addr=3", "-boot", "order=cd,menu=on"],
];
for (const args of machines)
  debianTest(
    `the device tree is QEMU's: ${args.join(" ")}`,
    [{ package: "qemu-system-ppc", path: "/usr/bin/qemu-system-ppc64" }],
    async () => {
      const dir = mkdtempSync(join(tmpdir(), "tandem-tree-"));
      try {
        const file = join(dir, "q.dtb");
        const common = ["-nodefaults", "-nographic", "-serial", "null", ...args];
        execFileSync(
          "qemu-system-ppc64",
          ["-M", `pseries-7.2,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,dumpdtb=${file}`, ...common],
          {
            stdio: "pipe",
          },
        );
        const wrong: string[] = [];
        compare(await ourTree(common), parseFdt(readFileSync(file)), "/", wrong);
        assert.deepEqual(wrong, []);
      } finally {
        rmSync(dir, { recursive: true });
      }
    },
  );
