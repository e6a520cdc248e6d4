/** From what the options have said to a configuration: defaults, default devices, cross-checks. */
import { VmError } from "../../base/errors.js";
import { type DriveInterface, type DriveOptions, parseDriveOptions } from "../../block/drive-options.js";
import {
  type ChardevConfig,
  type DeviceConfig,
  defaultConfig,
  type MachineConfig,
  type MonitorConfig,
} from "../../machine/config.js";
import { shortForm } from "./characters.js";
import type { Draft } from "./draft.js";
import { parseSize, toProperties } from "./grammar.js";
import { finishNetwork } from "./network.js";

/** Completes a draft. @throws VmError for what only the whole can tell */
export function finish(draft: Draft, streams = false): MachineConfig {
  const base = defaultConfig(draft.arch);
  if (draft.kernel === undefined) {
    if (draft.append !== undefined) throw new VmError("option/invalid", "-append: only allowed with -kernel option");
    if (draft.initrd !== undefined) throw new VmError("option/invalid", "-initrd: only allowed with -kernel option");
  }
  if (draft.machineType === "none") draft.noDefaults = true;
  defaultCharacters(draft, streams);
  checkProcess(draft);
  if (draft.incoming !== undefined && draft.loadSnapshot !== undefined)
    throw new VmError("option/invalid", "-loadvm: 'incoming' and 'loadvm' options are mutually exclusive");
  const drives = finishDrives(draft);
  const cards = finishNetwork(draft);
  checkCharacters(draft);
  checkReferences(draft, drives);
  checkMemoryBackend(draft, base.memoryBytes);
  const prop = (name: string) => draft.machineProps.get(name);
  return {
    ...base,
    machine: { type: draft.machineType, props: toProperties(draft.machineProps) },
    accel: draft.accels.length > 0 ? draft.accels : base.accel,
    cpu: draft.cpu ?? base.cpu,
    memoryBytes: draft.memoryBytes ?? base.memoryBytes,
    smp: draft.smp ?? base.smp,
    kernel: draft.kernel === undefined ? undefined : { image: draft.kernel, initrd: draft.initrd, append: draft.append },
    bios: draft.bios,
    firmwarePath: draft.firmwarePath,
    drives,
    blockdevs: draft.blockdevs,
    // In QEMU's order, which decides the PCI slots.
    devices: [...usbController(draft), ...cards, ...draft.devices, ...virtioDrives(drives)],
    objects: draft.objects,
    chardevs: draft.chardevs.map((c) =>
      c.backend === "socket" && draft.monitors.some((m) => m.mode === "control" && m.chardev === c.id)
        ? { ...c, passFds: true }
        : c,
    ),
    netdevs: draft.netdevs,
    vnc: draft.vnc,
    serials: draft.serials.map((s) => ({ chardev: s.chardev })),
    monitors: draft.monitors.flatMap((m): MonitorConfig[] =>
      m.chardev === undefined ? [] : [{ chardev: m.chardev, mode: m.mode ?? "readline", ...(m.pretty ? { pretty: true } : {}) }],
    ),
    graphics: prop("graphics") === undefined ? !draft.nographic : prop("graphics") !== "off",
    vga:
      draft.vga ??
      (base.vga === "none" || draft.noDefaults || draft.devices.some((d) => d.driver === "VGA" || d.driver === "isa-vga")
        ? "none"
        : "std"),
    rtc: draft.rtc,
    icount: draft.icount,
    boot: draft.boot,
    name: draft.name,
    uuid: draft.uuid,
    acpi: prop("acpi") !== "off",
    hpet: prop("hpet") !== "off",
    fdBootCheck: prop("fd-bootchk") !== "off",
    noReboot: draft.noReboot,
    noShutdown: draft.noShutdown,
    watchdogAction: draft.watchdogAction,
    incoming: draft.incoming,
    loadSnapshot: draft.loadSnapshot,
    fdSets: draft.fdSets,
    launch: draft.launch,
    startPaused: draft.startPaused,
    noDefaults: draft.noDefaults,
    globals: draft.globals,
    trace: { items: [...new Set(draft.traceItems)], file: draft.traceFile },
  };
}

/** Serial port and monitor that the user has not spoken of. */
function defaultCharacters(draft: Draft, streams: boolean): void {
  if (draft.noDefaults) return;
  const serial = draft.serials.length === 0 && !draft.devices.some((d) => d.driver === "isa-serial" || d.driver === "spapr-vty");
  const monitor = !draft.monitorSet;
  const origin = "-nographic";
  if (streams && !draft.nographic) {
    const stream = (id: string) => {
      draft.chardevs.push({ id, mux: false, origin: "the API", backend: "stream" });
      return { chardev: id, origin: "the API" };
    };
    if (serial) draft.serials.push(stream("serial0"));
    if (monitor) draft.monitors.push(stream("monitor0"));
    return;
  }
  if (!draft.nographic) {
    // QEMU shows them in its window; without one they go nowhere.
    if (serial) draft.serials.push({ chardev: shortForm(draft, "null", "serial0", "-serial null"), origin: "-serial null" });
    return;
  }
  if (serial && monitor) {
    draft.serials.push({ chardev: shortForm(draft, "mon:stdio", "serial0", origin), origin });
    draft.monitors.push({ chardev: "serial0", origin });
  } else if (serial) draft.serials.push({ chardev: shortForm(draft, "stdio", "serial0", origin), origin });
  else if (monitor && !draft.chardevs.some((c) => c.backend === "stdio"))
    draft.monitors.push({ chardev: shortForm(draft, "stdio", "compat_monitor0", origin), origin });
}

function finishDrives(draft: Draft): DriveOptions[] {
  const drives: DriveOptions[] = [];
  const taken = (kind: DriveInterface, index: number) => drives.some((d) => d.if === kind && d.index === index);
  const context = {
    snapshot: draft.snapshot,
    nextIndex: (kind: DriveInterface) => {
      let index = 0;
      while (taken(kind, index)) index++;
      return index;
    },
  };
  const add = (props: ReadonlyMap<string, string>, origin: string) => {
    const drive = parseDriveOptions(props, origin, context);
    if (taken(drive.if, drive.index))
      throw new VmError(
        "option/invalid",
        `${origin}: drive with bus=${drive.index >> 1}, unit=${drive.index & 1} (index=${drive.index}) exists`,
      );
    if (drives.some((d) => d.id === drive.id))
      throw new VmError("option/invalid", `${origin}: Duplicate ID '${drive.id}' for drive`);
    drives.push(drive);
  };
  for (const { props, origin } of draft.drives) add(props, origin);
  if (draft.noDefaults || draft.machineType !== "pc") return drives;
  const has = (...names: string[]) => draft.devices.some((d) => names.includes(d.driver));
  if (!taken("ide", 2) && !has("ide-cd", "scsi-cd", "ide-drive"))
    add(new Map(Object.entries({ if: "ide", index: "2", media: "cdrom" })), "default CD-ROM drive");
  if (!taken("floppy", 0) && !has("floppy")) add(new Map(Object.entries({ if: "floppy", index: "0" })), "default floppy drive");
  return drives;
}

/** The controller of -usb and -machine usb=on, beside the ISA bridge. */
function usbController(draft: Draft): DeviceConfig[] {
  const wanted = draft.usb || draft.machineProps.get("usb") === "on";
  return wanted ? [{ driver: "piix3-usb-uhci", props: { addr: "01.2" }, origin: "-usb" }] : [];
}

/** The `-device` behind each `if=virtio` drive. */
function virtioDrives(drives: readonly DriveOptions[]): DeviceConfig[] {
  return drives
    .filter((d) => d.if === "virtio")
    .map((d) => ({ driver: "virtio-blk-pci", props: toProperties([["drive", d.id]]), origin: d.origin }));
}

/** `-machine memory-backend=` names an object that is the guest's RAM. */
function checkMemoryBackend(draft: Draft, defaultBytes: number): void {
  const { memoryBackend: backend } = draft;
  if (!backend) return;
  const object = draft.objects.find((o) => o.id === backend.id);
  if (!object?.type.startsWith("memory-backend-"))
    throw new VmError("option/invalid", `${backend.origin}: Memory backend '${backend.id}' not found`);
  const size = parseSize(object.props.size ?? "");
  if (size === undefined || size === 0) throw new VmError("option/invalid", `${object.origin}: 'size' must be given, in bytes`);
  // Without -m the object says how much there is.
  draft.memoryBytes ??= size;
  if (size !== (draft.memoryBytes ?? defaultBytes))
    throw new VmError(
      "option/invalid",
      `${backend.origin}: Size specified by -m option must match size of explicitly specified 'memory-backend' property`,
    );
}

/** A daemon has no terminal. */
function checkProcess(draft: Draft): void {
  if (!draft.launch.daemonize) return;
  if (draft.nographic && draft.machineType !== "none")
    throw new VmError("option/invalid", "-nographic: cannot be used with -daemonize");
  const stdio = draft.chardevs.find((c) => c.backend === "stdio");
  if (stdio) throw new VmError("option/invalid", `${stdio.origin}: cannot use stdio with -daemonize`);
}

/** Every chardev named exists, and one without a mux has one user. */
function checkCharacters(draft: Draft): void {
  const users = new Map<string, string>();
  const use = (id: string, origin: string) => {
    const chardev: ChardevConfig | undefined = draft.chardevs.find((c) => c.id === id);
    if (!chardev) throw new VmError("chardev/unknown", `${origin}: chardev '${id}' not found`);
    if (users.has(id) && !chardev.mux)
      throw new VmError("option/invalid", `${origin}: chardev '${id}' is in use by ${users.get(id)}`);
    users.set(id, origin);
  };
  for (const s of draft.serials) if (s.chardev !== undefined) use(s.chardev, s.origin);
  for (const m of draft.monitors) if (m.chardev !== undefined) use(m.chardev, m.origin);
  for (const d of draft.devices) if (Object.hasOwn(d.props, "chardev")) use(d.props.chardev!, d.origin);
  const stdio = draft.chardevs.filter((c) => c.backend === "stdio");
  if (stdio.length > 1)
    throw new VmError("option/invalid", `${stdio[1]!.origin}: cannot use stdio by multiple character devices`);
}

/** Every drive and object that a device names exists, and a drive has one user. */
function checkReferences(draft: Draft, drives: readonly DriveOptions[]): void {
  const used = new Set<string>();
  for (const d of draft.devices) {
    const drive = Object.hasOwn(d.props, "drive") ? d.props.drive! : undefined;
    if (drive !== undefined) {
      const found = drives.find((x) => x.id === drive);
      if (!found && draft.blockdevs.some((b) => b.options.nodeName === drive)) {
        if (used.has(drive)) throw new VmError("device/invalid-property", `${d.origin}: Drive '${drive}' is already in use`);
        used.add(drive);
        continue;
      }
      if (!found)
        throw new VmError("device/invalid-property", `${d.origin}: Property '${d.driver}.drive' can't find value '${drive}'`);
      if (used.has(drive) || found.if !== "none")
        throw new VmError(
          "device/invalid-property",
          `${d.origin}: Drive '${drive}' is already in use${found.if === "none" ? "" : ` (it has if=${found.if})`}`,
        );
      used.add(drive);
    }
    const rng = Object.hasOwn(d.props, "rng") ? d.props.rng! : undefined;
    if (rng !== undefined && !draft.objects.some((o) => o.id === rng))
      throw new VmError("device/invalid-property", `${d.origin}: Device '${rng}' not found`);
  }
}
