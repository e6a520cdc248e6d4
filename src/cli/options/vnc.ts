/** -vnc and -display vnc=. Source: QEMU 7.2 documentation, "Display options". */
import { VmError } from "../../base/errors.js";
import type { VncConfig } from "../../machine/config.js";
import type { Draft, OptionGroup } from "./draft.js";
import { splitList, toMap } from "./grammar.js";
import { PropReader } from "./reader.js";

/** Display N is at this port plus N. */
const VNC_PORT = 5900;
const MAX_DISPLAY = 65535 - VNC_PORT;
/** WebSocket N. */
const WEBSOCKET_PORT = 5700;
const SHARES = ["allow-exclusive", "force-shared", "ignore"] as const;

/** `[host]:N`, `unix:PATH`; "none" stands for no address. */
function readAddress(r: PropReader, text: string): { address: VncConfig["address"]; display: number } {
  if (text === "none") return { address: undefined, display: 0 };
  const unix = /^unix:(.+)$/s.exec(text);
  if (unix) return { address: { host: "", port: 0, path: unix[1]! }, display: 0 };
  const m = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (!m || Number(m[3]) > MAX_DISPLAY)
    return r.fail(
      "option/invalid",
      `'${text}': expected [HOST]:DISPLAY with a display from 0 to ${MAX_DISPLAY}, unix:PATH or none`,
    );
  const display = Number(m[3]);
  return { address: { host: (m[1] ?? m[2]!) || "0.0.0.0", port: VNC_PORT + display }, display };
}

export function readVnc(value: string, origin: string): VncConfig | undefined {
  const r = new PropReader(toMap(splitList(value, "vnc")), origin);
  const where = r.need("vnc");
  const id = r.text("id") ?? "default";
  const { address, display } = readAddress(r, where);
  const to = r.number("to", 0, MAX_DISPLAY);
  const websocket = r.text("websocket");
  let websocketPort: number | undefined;
  if (websocket !== undefined && websocket !== "off") {
    const m = /^(?:[^:]*:)?(\d{1,5})$/.exec(websocket);
    websocketPort = websocket === "on" ? WEBSOCKET_PORT + display : m ? Number(m[1]) : -1;
    if (websocketPort < 0 || websocketPort > 65535)
      r.fail("option/invalid", `Parameter 'websocket' expects 'on' or a port, not '${websocket}'`);
  }
  const password = r.flag("password", false);
  const passwordSecret = r.text("password-secret");
  if (password && passwordSecret !== undefined) r.fail("option/invalid", "'password' flag is redundant with 'password-secret'");
  r.only("reverse", ["off"]);
  r.only("sasl", ["off"]);
  r.only("power-control", ["off"]);
  // Pictures are exact and updates follow the client already.
  r.flag("lossy");
  r.flag("non-adaptive");
  r.refuse("tls-creds", "tls-authz", "sasl-authz", "acl", "display", "head");
  for (const name of ["key-delay-ms", "lock-key-sync", "connections"]) r.refuse(name);
  // No sound is sent: the only audio backend is the one that has none.
  const audiodev = r.text("audiodev");
  const share = r.choice("share", SHARES) ?? "allow-exclusive";
  r.end();
  if (where === "none") return undefined;
  return {
    id,
    address,
    tries: to === undefined ? 1 : Math.max(1, to - display + 1),
    websocketPort,
    password: password || passwordSecret !== undefined,
    passwordSecret,
    audiodev,
    share,
    origin,
  };
}

export function parseVnc(draft: Draft, value: string, origin: string): void {
  const config = readVnc(value, origin);
  if (!config) return;
  if (draft.vnc.length > 0) throw new VmError("option/unsupported", `${origin}: only one VNC server is supported`);
  draft.vnc.push(config);
}

export const VNC: OptionGroup = {
  heading: "Remote display options",
  options: [
    {
      names: ["vnc"],
      argument: "[host]:N|unix:path|none[,option[,...]]",
      help: [
        "VNC server at display N, TCP port 5900 + N",
        "to=N, password=on|off, password-secret=id, websocket=on|port,",
        "share=allow-exclusive|force-shared|ignore",
      ],
      parse: parseVnc,
    },
  ],
};
