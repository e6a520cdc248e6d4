/** What a command and an event of the protocol are. */
import type { MonitorTarget } from "../target.js";
import { type Members, type Optional, type QapiType, type Shape, struct } from "./types.js";

/** What a client has besides the machine. */
export interface QmpClient {
  /** Descriptors got by `getfd`, by name. */
  readonly fds: Map<string, number>;
  /** Descriptors that came with the last command and have not been named. */
  takeFd(): number | undefined;
}

export interface QmpContext {
  readonly target: MonitorTarget;
  readonly client: QmpClient;
  /** Work for when the reply is on its way. */
  afterReply(work: () => void): void;
}

/** One row of the command table. */
export interface QmpCommand {
  readonly name: string;
  /** One sentence for the documentation page. */
  readonly doc: string;
  readonly args: QapiType | undefined;
  readonly returns: QapiType | undefined;
  readonly features: readonly string[] | undefined;
  readonly run: (context: QmpContext, args: never) => unknown;
}

interface Spec<M extends Members, R> {
  readonly doc: string;
  readonly args?: M;
  /** Takes more members than `args`, as `device_add` does. */
  readonly openArgs?: boolean;
  /** A union instead of plain members. */
  readonly union?: QapiType;
  readonly returns?: QapiType<R>;
  readonly features?: readonly string[];
  readonly run: (context: QmpContext, args: Shape<M>) => R | Promise<R>;
}

/** Declares a command. Without `returns` the reply is an empty object, whatever `run` gives. */
export function command<const M extends Members, R = unknown>(name: string, spec: Spec<M, R>): QmpCommand {
  const args = spec.union ?? (spec.args ? argsType(name, spec.args, spec.openArgs ?? false) : undefined);
  return {
    name,
    doc: spec.doc,
    args,
    returns: spec.returns,
    features: spec.features,
    run: spec.run as QmpCommand["run"],
  };
}

function argsType(name: string, members: Members, open: boolean): QapiType {
  return { meta: { kind: "struct", name: `${name}-arg`, members, open } };
}

/** One row of the event table. */
export interface QmpEvent {
  readonly name: string;
  readonly doc: string;
  readonly data: QapiType | undefined;
}

export function event(name: string, doc: string, data?: Members): QmpEvent {
  return { name, doc, data: data && struct(`${name}-data`, data as { readonly [n: string]: QapiType | Optional }) };
}
