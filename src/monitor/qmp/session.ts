/**
 * One client of the monitor protocol: greeting, negotiation, one command after the other, events. Source: QMP specification
 * of QEMU 7.2. *Not emulated*: out-of-band commands (the capability is not offered).
 */
import { VmError } from "../../base/errors.js";
import { QEMU_VERSION, TANDEM_VERSION } from "../../base/version.js";
import type { MachineEvent } from "../../machine/events.js";
import type { MonitorTarget } from "../target.js";
import { check } from "./check.js";
import type { QmpClient } from "./command.js";
import { generic, QmpError } from "./errors.js";
import { qmpEvent } from "./events.js";
import type { Json, JsonObject } from "./json.js";
import { findCommand } from "./table.js";

/** A reply, event or greeting: an object for `writeJson`. */
export type Message = { readonly [member: string]: unknown };

/** `version` of the greeting and of `query-version`: the QEMU that this machine is like; `package` tells our own. */
export function versionInfo() {
  const [major = 0, minor = 0, micro = 0] = QEMU_VERSION.split(".").map(Number);
  return { qemu: { micro, minor, major }, package: `Tandem ${TANDEM_VERSION}` };
}

/** Members that a request may have. */
const REQUEST_MEMBERS = ["execute", "arguments", "id", "control"];

/** The state of one client's connection. */
export class QmpSession {
  private negotiated = false;

  constructor(
    private readonly target: MonitorTarget,
    private readonly client: QmpClient,
    private readonly send: (message: Message) => void,
  ) {}

  /** A client has come. */
  open(): void {
    this.send({ QMP: { version: versionInfo(), capabilities: [] } });
  }

  /** Something has happened to the machine. */
  event(e: MachineEvent): void {
    if (!this.negotiated) return;
    const out = qmpEvent(e);
    if (out) this.send({ timestamp: timestamp(this.target.wallMs()), event: out.event, ...(out.data ? { data: out.data } : {}) });
  }

  /** The answer to what is not JSON. */
  malformed(description: string): void {
    this.send(errorReply("GenericError", description, undefined));
  }

  /** Runs one request; its reply has been sent when this resolves. Never rejects. */
  async execute(request: Json): Promise<void> {
    let id: Json | undefined;
    const after: (() => void)[] = [];
    try {
      if (typeof request !== "object" || request === null || Array.isArray(request))
        throw generic("QMP input must be a JSON object");
      id = Object.hasOwn(request, "id") ? request.id : undefined;
      const result = await this.run(request, after);
      this.send({ return: result ?? {}, id });
    } catch (e) {
      this.send(errorReply(e instanceof QmpError ? e.errorClass : "GenericError", messageOf(e), id));
    }
    for (const work of after) work();
  }

  private async run(request: JsonObject, after: (() => void)[]): Promise<unknown> {
    for (const key of Object.keys(request))
      if (!REQUEST_MEMBERS.includes(key)) throw generic(`QMP input member '${key}' is unexpected`);
    const { execute: name } = request;
    if (name === undefined) throw generic("QMP input lacks member 'execute'");
    if (typeof name !== "string") throw generic("QMP input member 'execute' must be a string");
    const given = request.arguments ?? Object.create(null);
    if (typeof given !== "object" || given === null || Array.isArray(given))
      throw generic("QMP input member 'arguments' must be an object");
    if (name === "qmp_capabilities") return this.negotiate(given);
    if (!this.negotiated) throw new QmpError("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
    const command = findCommand(name);
    if (!command) throw new QmpError("CommandNotFound", `The command ${name} has not been found`);
    if (command.args) check(command.args, given, "");
    else for (const key of Object.keys(given)) throw generic(`Parameter '${key}' is unexpected`);
    const result = await command.run(
      { target: this.target, client: this.client, afterReply: (work) => after.push(work) },
      given as never,
    );
    return command.returns ? result : {};
  }

  private negotiate(given: JsonObject): Message {
    if (this.negotiated) throw new QmpError("CommandNotFound", "Capabilities negotiation is already complete, command ignored");
    check(findCommand("qmp_capabilities")!.args!, given, "");
    for (const c of (given.enable as string[] | undefined) ?? []) throw generic(`Capability ${c} is not available`);
    this.negotiated = true;
    return {};
  }
}

/** Seconds and microseconds since 1970. */
export function timestamp(wallMs: number) {
  const micros = Math.floor(wallMs * 1000);
  return { seconds: Math.floor(micros / 1e6), microseconds: micros % 1e6 };
}

function errorReply(errorClass: string, desc: string, id: Json | undefined): Message {
  return { error: { class: errorClass, desc }, id };
}

function messageOf(e: unknown): string {
  if (e instanceof VmError || e instanceof QmpError) return e.message;
  return `internal error: ${e instanceof Error ? e.message : String(e)}`;
}
