/**
 * `query-qmp-schema`. Source: QEMU 7.2 qapi/introspect.json: objects, commands and events by name, other types by
 * meaningless names (numbers), arrays as "[element]"; builtin types under their own.
 */
import type { QmpCommand, QmpEvent } from "./command.js";
import { type Members, memberType, type QapiType } from "./types.js";

const JSON_TYPES = { str: "string", int: "int", number: "number", bool: "boolean", null: "null", any: "value" } as const;

type Entry = { readonly name: string; readonly "meta-type": string; readonly [member: string]: unknown };

class Schema {
  readonly entries: Entry[] = [];
  /** Types are the same when their names are. */
  private readonly names = new Map<string, string>();
  private readonly known = new Set<string>();

  private add(entry: Entry): void {
    if (this.known.has(entry.name)) return;
    this.known.add(entry.name);
    this.entries.push(entry);
  }

  private alias(key: string): { name: string; fresh: boolean } {
    const found = this.names.get(key);
    if (found !== undefined) return { name: found, fresh: false };
    const name = String(this.names.size);
    this.names.set(key, name);
    return { name, fresh: true };
  }

  /** The introspection name of a type; it and what it needs are in the list afterwards. */
  type(t: QapiType): string {
    const { meta } = t;
    switch (meta.kind) {
      case "builtin":
        this.add({ name: meta.name, "meta-type": "builtin", "json-type": JSON_TYPES[meta.name] });
        return meta.name;
      case "array": {
        const element = this.type(meta.element);
        this.add({ name: `[${element}]`, "meta-type": "array", "element-type": element });
        return `[${element}]`;
      }
      case "enum": {
        const { name, fresh } = this.alias(meta.name);
        if (fresh) this.add({ name, "meta-type": "enum", members: meta.values.map((v) => ({ name: v })), values: meta.values });
        return name;
      }
      case "struct": {
        const { name, fresh } = this.alias(meta.name);
        if (fresh) this.add({ name, "meta-type": "object", members: this.members(meta.members) });
        return name;
      }
      case "union": {
        const { name, fresh } = this.alias(meta.name);
        if (fresh)
          this.add({
            name,
            "meta-type": "object",
            members: this.members(meta.base),
            tag: meta.tag,
            variants: this.tagValues(meta.base, meta.tag).map((value) => ({
              case: value,
              type: Object.hasOwn(meta.variants, value) ? this.type(meta.variants[value]!) : this.object("empty", {}),
            })),
          });
        return name;
      }
      case "alternate": {
        const { name, fresh } = this.alias(meta.name);
        if (fresh) this.add({ name, "meta-type": "alternate", members: meta.of.map((o) => ({ type: this.type(o) })) });
        return name;
      }
    }
  }

  private tagValues(base: Members, tag: string): readonly string[] {
    const { meta } = memberType(base[tag]!);
    return meta.kind === "enum" ? meta.values : [];
  }

  private members(members: Members) {
    return Object.entries(members).map(([name, m]) => ({
      name,
      ...("optional" in m ? { default: null } : {}),
      type: this.type(memberType(m)),
    }));
  }

  object(key: string, members: Members): string {
    const { name, fresh } = this.alias(key);
    if (fresh) this.add({ name, "meta-type": "object", members: this.members(members) });
    return name;
  }

  command(c: QmpCommand): void {
    this.entries.push({
      name: c.name,
      "meta-type": "command",
      "arg-type": c.args ? this.type(c.args) : this.object("empty", {}),
      "ret-type": c.returns ? this.type(c.returns) : this.object("empty", {}),
      ...(c.features ? { features: c.features } : {}),
    });
  }

  event(e: QmpEvent): void {
    this.entries.push({ name: e.name, "meta-type": "event", "arg-type": e.data ? this.type(e.data) : this.object("empty", {}) });
  }
}

/** The list of `query-qmp-schema`. */
export function introspection(commands: readonly QmpCommand[], events: readonly QmpEvent[]): readonly Entry[] {
  const schema = new Schema();
  for (const c of commands) schema.command(c);
  for (const e of events) schema.event(e);
  return schema.entries;
}
