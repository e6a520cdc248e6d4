/** The VNC servers of one machine. */
import { VmError } from "../base/errors.js";
import type { Host } from "../host/host.js";
import { qcodeOfSet1 } from "../hw/input/qcodes.js";
import type { Display } from "../ui/display.js";
import { InputHub } from "../ui/input.js";
import { type VncEvent, VncServer } from "../ui/vnc/server.js";
import type { MachineConfig, ObjectConfig, VncConfig } from "./config.js";

/** What the machine gives its servers. */
export interface VncMachine {
  readonly name: string | undefined;
  display(): Display | undefined;
  readonly input: InputHub | undefined;
  onEvent(e: VncEvent): void;
}

export class VncServers {
  private readonly servers: VncServer[] = [];

  /** @throws VmError for the first that cannot be opened; the others are closed again */
  static async open(config: MachineConfig, machine: VncMachine, host: Host): Promise<VncServers> {
    const all = new VncServers();
    try {
      for (const c of config.vnc) await all.add(c, config.objects, machine, host);
      return all;
    } catch (e) {
      all.close();
      throw e;
    }
  }

  private async add(c: VncConfig, objects: readonly ObjectConfig[], machine: VncMachine, host: Host): Promise<void> {
    const { network, createDeflater } = host;
    if (!network || !createDeflater)
      throw new VmError("option/unsupported", `${c.origin}: this host has no network for a VNC server`);
    const server = new VncServer({
      id: c.id,
      name: machine.name === undefined ? "QEMU" : `QEMU (${machine.name})`,
      needsPassword: c.password,
      share: c.share,
      network,
      scheduler: host.scheduler,
      clock: host.clock,
      createDeflater,
      random: (out) => host.randomBytes(out),
      display: () => machine.display(),
      input: machine.input ?? new InputHub(),
      qcodeOfScancode: qcodeOfSet1,
      note: (text) => host.note(text),
    });
    server.onEvent = (e) => machine.onEvent(e);
    this.servers.push(server);
    if (c.passwordSecret !== undefined) server.setPassword(secretOf(c, objects));
    try {
      if (c.address) await server.listen(c.address, c.tries);
      if (c.websocketPort !== undefined) {
        if (!network.listenWebSocket) throw new VmError("option/unsupported", "websocket= needs the npm package ws");
        await server.listen({ host: c.address?.host || "0.0.0.0", port: c.websocketPort }, 1, true);
      }
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new VmError(cause instanceof VmError ? cause.code : "net/io", `${c.origin}: ${message}`, { cause });
    }
  }

  list(): readonly VncServer[] {
    return this.servers;
  }

  /** The server that commands without a name mean. @throws VmError "monitor/bad-command" */
  first(): VncServer {
    const s = this.servers[0];
    if (!s) throw new VmError("monitor/bad-command", "Could not set password: there is no VNC server");
    return s;
  }

  close(): void {
    for (const s of this.servers) s.close();
  }
}

/** The text of a secret object. @throws VmError naming the option */
function secretOf(c: VncConfig, objects: readonly ObjectConfig[]): string {
  const o = objects.find((x) => x.type === "secret" && x.id === c.passwordSecret);
  if (!o) throw new VmError("option/invalid", `${c.origin}: no secret with id '${c.passwordSecret}'`);
  const { data } = o.props;
  if (data === undefined || (o.props.format ?? "raw") !== "raw" || o.props.keyid !== undefined)
    throw new VmError("option/unsupported", `${c.origin}: secret '${o.id}' must have its text in data=`);
  return data;
}

/** When `expire_password` says a password ends, in ms since 1970. @returns undefined when it is no time */
export function readExpiry(text: string, nowMs: number): number | undefined {
  if (text === "now") return nowMs;
  if (text === "never") return Number.POSITIVE_INFINITY;
  const m = /^(\+?)(\d{1,12})$/.exec(text);
  return m ? (m[1] ? nowMs : 0) + Number(m[2]) * 1000 : undefined;
}
