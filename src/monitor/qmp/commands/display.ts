/** VNC and pointers. Source: QEMU 7.2 qapi/ui.json. */
import type { NetAddress } from "../../../host/network.js";
import { readExpiry } from "../../../machine/vnc.js";
import type { VncServer } from "../../../ui/vnc/server.js";
import { command, type QmpCommand } from "../command.js";
import { generic } from "../errors.js";
import { array, bool, enumeration, int, optional, str, struct } from "../types.js";

const FAMILY = enumeration("NetworkAddressFamily", ["ipv4", "ipv6", "unix", "vsock", "unknown"]);
const AUTH = enumeration("VncPrimaryAuth", ["none", "vnc"]);
const SUB_AUTH = enumeration("VncVencryptSubAuth", ["plain"]);
const BASIC = { host: str, service: str, family: FAMILY, websocket: bool };
const CLIENT = struct("VncClientInfo", { ...BASIC, x509_dname: optional(str), sasl_username: optional(str) });
const SERVER = struct("VncServerInfo2", { ...BASIC, auth: AUTH, vencrypt: optional(SUB_AUTH) });
const PROTOCOL = enumeration("DisplayProtocol", ["vnc"]);
const CONNECTED = enumeration("SetPasswordAction", ["keep"]);

/** An address in the words of events and replies. */
export function addressInfo(a: NetAddress, websocket: boolean) {
  const family: "unix" | "ipv4" | "ipv6" = a.path !== undefined ? "unix" : a.host.includes(":") ? "ipv6" : "ipv4";
  return { host: a.path ?? a.host, service: a.path === undefined ? String(a.port) : "", family, websocket };
}

const authOf = (s: VncServer): "vnc" | "none" => (s.needsPassword ? "vnc" : "none");
const clientsOf = (s: VncServer) => s.connections().map((c) => addressInfo(c.remote, c.websocket));

export const DISPLAY_COMMANDS: readonly QmpCommand[] = [
  command("query-vnc", {
    doc: "The VNC server and who is connected.",
    returns: struct("VncInfo", {
      enabled: bool,
      host: optional(str),
      family: optional(FAMILY),
      service: optional(str),
      auth: optional(str),
      clients: optional(array(CLIENT)),
    }),
    run: ({ target }) => {
      const s = target.vnc.list()[0];
      if (!s) return { enabled: false };
      const { host, service, family } = addressInfo(s.address ?? { host: "", port: 0 }, false);
      return { enabled: true, host, service, family, auth: authOf(s), clients: clientsOf(s) };
    },
  }),
  command("query-vnc-servers", {
    doc: "All VNC servers.",
    returns: array(
      struct("VncInfo2", { id: str, server: array(SERVER), clients: array(CLIENT), auth: AUTH, vencrypt: optional(SUB_AUTH) }),
    ),
    run: ({ target }) =>
      target.vnc.list().map((s) => ({
        id: s.id,
        server: [
          ...(s.address ? [{ ...addressInfo(s.address, false), auth: authOf(s) }] : []),
          ...(s.websocketAddress ? [{ ...addressInfo(s.websocketAddress, true), auth: authOf(s) }] : []),
        ],
        clients: clientsOf(s),
        auth: authOf(s),
      })),
  }),
  command("set_password", {
    doc: "Sets the password of the VNC server.",
    args: { protocol: PROTOCOL, password: str, connected: optional(CONNECTED), display: optional(str) },
    run: ({ target }, { password, display }) => server(target.vnc.list(), display).setPassword(password),
  }),
  command("expire_password", {
    doc: "Sets when the password ends to hold.",
    args: { protocol: PROTOCOL, time: str, display: optional(str) },
    run: ({ target }, { time, display }) => {
      const expiry = readExpiry(time, target.wallMs());
      if (expiry === undefined) throw generic(`Parameter 'time' expects now, never, +seconds or seconds, not '${time}'`);
      server(target.vnc.list(), display).setExpiry(expiry);
    },
  }),
  command("change-vnc-password", {
    doc: "Sets the password of the VNC server.",
    args: { password: str },
    run: ({ target }, { password }) => server(target.vnc.list(), undefined).setPassword(password),
  }),
  command("add_client", {
    doc: "Gives a connected socket, got by getfd, to the VNC server.",
    args: { protocol: str, fdname: str, skipauth: optional(bool), tls: optional(bool) },
    run: ({ target, client }, { protocol, fdname, skipauth = false }) => {
      if (protocol !== "vnc") throw generic(`protocol '${protocol}' is not supported`);
      const s = server(target.vnc.list(), undefined);
      const fd = client.fds.get(fdname);
      if (fd === undefined) throw generic(`File descriptor named '${fdname}' has not been found`);
      client.fds.delete(fdname);
      s.accept(target.adoptSocket(fd), skipauth);
    },
  }),
  command("query-mice", {
    doc: "The guest's pointers.",
    returns: array(struct("MouseInfo", { name: str, index: int, current: bool, absolute: bool })),
    run: ({ target }) => (target.inputs?.pointers() ?? []).map((p, index) => ({ ...p, index })),
  }),
];

function server(list: readonly VncServer[], id: string | undefined): VncServer {
  const s = id === undefined ? list[0] : list.find((x) => x.id === id);
  if (!s) throw generic(id === undefined ? "VNC is not active" : `VNC display '${id}' not found`);
  return s;
}
