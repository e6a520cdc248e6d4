/** VNC and pointers in the human monitor. */
import type { NetAddress } from "../../host/network.js";
import { readExpiry } from "../../machine/vnc.js";
import type { VncServer } from "../../ui/vnc/server.js";
import type { MonitorTarget } from "../target.js";
import type { Args, Command } from "./command.js";

const where = (a: NetAddress) => a.path ?? `${a.host}:${a.port}`;
const family = (a: NetAddress) => (a.path !== undefined ? "unix" : a.host.includes(":") ? "ipv6" : "ipv4");

function serverText(s: VncServer): string {
  const auth = s.needsPassword ? "vnc" : "none";
  let out = `${s.id}:\n`;
  if (s.address) out += `  Server: ${where(s.address)} (${family(s.address)})\n    Auth: ${auth} (Sub: none)\n`;
  if (s.websocketAddress)
    out += `  Server: ${where(s.websocketAddress)} (${family(s.websocketAddress)}) (Websocket)\n    Auth: ${auth} (Sub: none)\n`;
  for (const c of s.connections())
    out += `  Client: ${where(c.remote)} (${family(c.remote)})${c.websocket ? " (Websocket)" : ""}\n    x509_dname: none\n    sasl_username: none\n`;
  if (s.connections().length === 0) out += "  Client: none\n";
  if (!s.address) out += `  Auth: ${auth} (Sub: none)\n`;
  return out;
}

/** The protocol word of set_password and expire_password. */
function vncOnly(args: Args): void {
  const word = args.word();
  if (word !== "vnc") args.fail(`protocol '${word}' is not supported: use vnc`);
}

export function setVncPassword(target: MonitorTarget, password: string): void {
  target.vnc.first().setPassword(password);
}

export const VNC_INFO: readonly Command[] = [
  {
    names: ["vnc"],
    args: "",
    help: "show the vnc server status",
    run: ({ target, print }, args) => {
      args.end();
      const list = target.vnc.list();
      print(list.length === 0 ? "None\n" : list.map(serverText).join(""));
    },
  },
  {
    names: ["mice"],
    args: "",
    help: "show which guest mouse is receiving events",
    run: ({ target, print }, args) => {
      args.end();
      const mice = target.inputs?.pointers() ?? [];
      if (mice.length === 0) print("No mouse devices connected\n");
      for (const [n, m] of mice.entries())
        print(`${m.current ? "*" : " "} Mouse #${n}: ${m.name}${m.absolute ? " (absolute)" : ""}\n`);
    },
  },
];

export const VNC_COMMANDS: readonly Command[] = [
  {
    names: ["set_password"],
    args: "vnc password",
    help: "set the VNC password",
    run: ({ target }, args) => {
      vncOnly(args);
      const password = args.word();
      args.optionalWord();
      args.end();
      setVncPassword(target, password);
    },
  },
  {
    names: ["expire_password"],
    args: "vnc now|never|+seconds|time",
    help: "set when the VNC password ends to hold",
    run: ({ target }, args) => {
      vncOnly(args);
      const word = args.word();
      args.end();
      const server = target.vnc.first();
      server.setExpiry(readExpiry(word, target.wallMs()) ?? args.fail(`'${word}' is not a time`));
    },
  },
];
