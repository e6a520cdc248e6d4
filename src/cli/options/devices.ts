/** -device, -object, -display, -vga, -nographic. */
import { VmError } from "../../base/errors.js";
import type { DeviceType } from "../../hw/core/device-type.js";
import { VGA_TYPES } from "../../machine/catalog.js";
import { commonProperties, findDeviceType, propertyHelp, readProperty } from "../../machine/device-properties.js";
import { WATCHDOG_ACTIONS } from "../../machine/events.js";
import { OBJECT_TYPES } from "../../machine/object-types.js";
import { checkId } from "./characters.js";
import { type Draft, type OptionGroup, PrintAndExit } from "./draft.js";
import { isHelp, parseObject, splitList, toMap, toProperties } from "./grammar.js";
import { PropReader } from "./reader.js";
import { parseVnc } from "./vnc.js";

const CATEGORIES: readonly (readonly [DeviceType["category"], string])[] = [
  ["bridge", "Controller/Bridge/Hub"],
  ["usb", "USB"],
  ["storage", "Storage"],
  ["network", "Network"],
  ["input", "Input"],
  ["display", "Display"],
  ["sound", "Sound"],
  ["misc", "Misc"],
  ["cpu", "CPU"],
  ["watchdog", "Watchdog"],
];

/** Buses that are called "x-bus" rather than by capitals. */
const DASH_BUS: readonly DeviceType["bus"][] = ["virtio", "virtio-serial", "floppy"];

function deviceHelp(types: readonly DeviceType[]): string {
  let out = "";
  for (const [category, title] of CATEGORIES) {
    const rows = types.filter((t) => t.category === category && t.bus !== "none").sort((a, b) => (a.name < b.name ? -1 : 1));
    if (rows.length === 0) continue;
    out += `${out === "" ? "" : "\n"}${title} devices:\n`;
    for (const t of rows) {
      const bus = t.bus === "sysbus" ? "System" : DASH_BUS.includes(t.bus) ? `${t.bus}-bus` : t.bus.toUpperCase();
      const alias = t.aliases.length > 0 ? `, alias "${t.aliases[0]}"` : "";
      out += `name "${t.name}", bus ${bus}${alias}, desc "${t.description}"\n`;
    }
  }
  return out;
}

function parseDevice(draft: Draft, value: string, origin: string): void {
  if (isHelp(value)) throw new PrintAndExit(deviceHelp(draft.deviceTypes));
  const props = parseObject(value, "driver", origin);
  const driver = props.get("driver") ?? "";
  if (driver === "") throw new VmError("option/missing", `${origin}: Parameter 'driver' is missing`);
  const type = findDeviceType(draft.deviceTypes, driver);
  if (!type || type.bus === "none")
    throw new VmError("device/unknown", `${origin}: '${driver}' is not a valid device model name`);
  for (const name of props.keys()) if (isHelp(name)) throw new PrintAndExit(propertyHelp(type));
  const id = props.get("id");
  if (id !== undefined) {
    checkId(id, origin);
    if (draft.devices.some((d) => d.id === id)) throw new VmError("option/invalid", `${origin}: Duplicate ID '${id}' for device`);
  }
  const bus = props.get("bus");
  for (const name of ["driver", "id", "bus"]) props.delete(name);
  const known = [...type.properties, ...commonProperties(type)];
  for (const [name, text] of props) {
    const property = known.find((p) => p.name === name);
    if (!property) throw new VmError("device/invalid-property", `${origin}: Property '${type.name}.${name}' not found`);
    readProperty(property, text, origin);
  }
  draft.devices.push({ driver: type.name, id, bus, props: toProperties(props), origin });
}

function parseObjectOption(draft: Draft, value: string, origin: string): void {
  if (isHelp(value))
    throw new PrintAndExit(`List of user creatable objects:\n${OBJECT_TYPES.map((t) => `  ${t.name}\n`).join("")}`);
  const props = parseObject(value, "qom-type", origin);
  const type = props.get("qom-type") ?? "";
  const known = OBJECT_TYPES.find((t) => t.name === type);
  if (!known) throw new VmError("option/unsupported", `${origin}: object type '${type}' is not supported`);
  for (const name of props.keys())
    if (isHelp(name)) throw new PrintAndExit(`${type} options:\n${known.properties.map((p) => `  ${p}=<string>\n`).join("")}`);
  const r = new PropReader(props, origin);
  r.text("qom-type");
  const id = r.need("id");
  checkId(id, origin);
  if (draft.objects.some((o) => o.id === id))
    throw new VmError("option/invalid", `${origin}: attempt to add duplicate property '${id}' to object`);
  const kept = new Map<string, string>();
  for (const name of known.properties) {
    const v = r.text(name);
    if (v !== undefined) kept.set(name, v);
  }
  r.end();
  if (type === "filter-dump") checkDump(new PropReader(kept, origin));
  draft.objects.push({ type, id, props: toProperties(kept), origin });
}

function checkDump(r: PropReader): void {
  r.need("netdev");
  r.need("file");
  r.number("maxlen", 1, 2 ** 32 - 1);
  r.only("status", ["on"]);
  r.only("queue", ["all"]);
}

const USB_DEVICES: { readonly [name: string]: string } = { tablet: "usb-tablet", mouse: "usb-mouse", keyboard: "usb-kbd" };

function parseUsbDevice(draft: Draft, value: string, origin: string): void {
  if (!Object.hasOwn(USB_DEVICES, value))
    throw new VmError("option/unsupported", `${origin}: USB device '${value}' is not supported: tablet, mouse or keyboard`);
  draft.usb = true;
  draft.devices.push({ driver: USB_DEVICES[value]!, props: {}, origin });
}

function parseVga(draft: Draft, value: string, origin: string): void {
  if (isHelp(value)) throw new PrintAndExit(VGA_TYPES.map((v) => `${v.name.padEnd(20)} ${v.description}\n`).join(""));
  const found = VGA_TYPES.find((v) => v.name === value);
  if (!found) {
    const known = ["cirrus", "vmware", "xenfb", "qxl", "tcx", "cg3", "virtio"].includes(value);
    throw new VmError(
      known ? "option/unsupported" : "option/invalid",
      `${origin}: ${known ? `vga type '${value}' is not supported` : `unknown vga type: ${value}`}`,
    );
  }
  draft.vga = found.name;
}

function parseDisplay(draft: Draft, value: string, origin: string): void {
  if (isHelp(value)) throw new PrintAndExit("Available display backend types:\nnone\nvnc\n");
  if (value.startsWith("vnc=")) {
    parseVnc(draft, value.slice(4), origin);
    return;
  }
  const type = toMap(splitList(value, "type")).get("type");
  if (type !== "none" || value.includes(","))
    throw new VmError("option/unsupported", `${origin}: display '${value}' is not supported; use -display none or -vnc`);
}

function parseAudiodev(_draft: Draft, value: string, origin: string): void {
  const r = new PropReader(parseObject(value, "driver", origin), origin);
  checkId(r.need("id"), origin);
  r.only("driver", ["none"]);
  r.end();
}

export const DEVICES: OptionGroup = {
  heading: "Device and display options",
  options: [
    {
      names: ["device"],
      argument: "driver[,prop[=value][,...]] | '{\"driver\":...}'",
      help: ["add device; '-device help' for list, '-device driver,help' for properties"],
      parse: parseDevice,
    },
    {
      names: ["object"],
      argument: "TYPENAME,id=id[,PROP1=VALUE1,...]",
      help: ["create an object; '-object help' for list"],
      parse: parseObjectOption,
    },
    {
      names: ["display"],
      argument: "none|vnc=<display>[,<optargs>]",
      help: ["select display backend type"],
      parse: parseDisplay,
    },
    {
      names: ["nographic"],
      help: ["no display; serial port and monitor on the terminal (Ctrl-a h for help)"],
      parse: (d) => {
        d.nographic = true;
      },
    },
    {
      names: ["audiodev"],
      argument: "[driver=]none,id=id",
      help: ["no host audio: there are no sound devices"],
      parse: parseAudiodev,
    },
    {
      names: ["usb"],
      help: ["enable the on-board USB host controller"],
      parse: (d) => {
        d.usb = true;
      },
    },
    {
      names: ["usbdevice"],
      argument: "tablet|mouse|keyboard",
      help: ["add a USB device, and the controller"],
      parse: parseUsbDevice,
    },
    {
      names: ["watchdog-action"],
      argument: "reset|shutdown|poweroff|inject-nmi|pause|debug|none",
      help: ["what happens when a watchdog's time is up (default reset)"],
      parse: (d, value, origin) => {
        const action = WATCHDOG_ACTIONS.find((a) => a === value);
        if (!action)
          throw new VmError("option/invalid", `${origin}: unknown watchdog action: one of ${WATCHDOG_ACTIONS.join(", ")}`);
        d.watchdogAction = action;
      },
    },
    { names: ["vga"], argument: "[std|none]", help: ["select video card type"], parse: parseVga },
  ],
};
