/**
 * The description language of the monitor protocol: builtin types, enumerations, structures, arrays, unions. TypeScript
 * types (`Of`), argument checks (`check.ts`), `query-qmp-schema` (`introspect.ts`) and the documentation page come from the
 * same values. Source of the concepts: QAPI, QEMU 7.2 docs/devel/qapi-code-gen.rst.
 */

/** A JSON type as introspection names it. */
export type Builtin = "str" | "int" | "number" | "bool" | "null" | "any";

/** What a type is made of. */
export type Meta =
  | { readonly kind: "builtin"; readonly name: Builtin; readonly wide?: boolean }
  | { readonly kind: "enum"; readonly name: string; readonly values: readonly string[] }
  | { readonly kind: "array"; readonly element: QapiType }
  | {
      readonly kind: "struct";
      readonly name: string;
      readonly members: Members;
      /** Takes further members, which the command reads itself: `device_add`. */
      readonly open: boolean;
    }
  | {
      readonly kind: "union";
      readonly name: string;
      readonly base: Members;
      readonly tag: string;
      /** Of each value of the tag; a value without one has no further members. */
      readonly variants: { readonly [tag: string]: QapiType };
    }
  | { readonly kind: "alternate"; readonly name: string; readonly of: readonly QapiType[] };

/** A type whose values are T in TypeScript. */
export interface QapiType<T = unknown> {
  readonly meta: Meta;
  /** Never set: carries T. */
  readonly phantom?: T;
}

/** A member that may be left out. */
export interface Optional<T = unknown> {
  readonly optional: QapiType<T>;
}

export interface Members {
  readonly [name: string]: QapiType | Optional;
}

/** The TypeScript type behind a description. */
export type Of<T> = T extends Optional<infer V> ? V : T extends QapiType<infer V> ? V : never;
type OptionalNames<M> = { [K in keyof M]: M[K] extends Optional ? K : never }[keyof M];
/** An object of members. */
export type Shape<M extends Members> = { readonly [K in Exclude<keyof M, OptionalNames<M>>]: Of<M[K]> } & {
  readonly [K in OptionalNames<M>]?: Of<M[K]> | undefined;
};

const builtin = <T>(name: Builtin, wide = false): QapiType<T> => ({ meta: { kind: "builtin", name, wide } });

export const str = builtin<string>("str");
export const bool = builtin<boolean>("bool");
/** A whole number of at most 2^53. */
export const int = builtin<number>("int");
/** A whole number of 64 bits. */
export const wide = builtin<number | bigint>("int", true);
export const number = builtin<number>("number");
export const any = builtin<unknown>("any");
export const nothing = builtin<null>("null");

export function enumeration<const V extends readonly string[]>(name: string, values: V): QapiType<V[number]> {
  return { meta: { kind: "enum", name, values } };
}

export function array<T>(element: QapiType<T>): QapiType<readonly T[]> {
  return { meta: { kind: "array", element } };
}

export function optional<T>(type: QapiType<T>): Optional<T> {
  return { optional: type };
}

export function struct<const M extends Members>(name: string, members: M): QapiType<Shape<M>> & { readonly members: M } {
  return { meta: { kind: "struct", name, members, open: false }, members };
}

/** A structure that takes any further members; they are in the value too. */
export function openStruct<const M extends Members>(
  name: string,
  members: M,
): QapiType<Shape<M> & { readonly [name: string]: unknown }> {
  return { meta: { kind: "struct", name, members, open: true } };
}

/** Members that depend on the value of one of them, the tag, which is an enumeration. */
export function union<T>(name: string, base: Members, tag: string, variants: { readonly [tag: string]: QapiType }): QapiType<T> {
  return { meta: { kind: "union", name, base, tag, variants } };
}

export function alternate<T>(name: string, ...of: readonly QapiType[]): QapiType<T> {
  return { meta: { kind: "alternate", name, of } };
}

export function memberType(m: QapiType | Optional): QapiType {
  return "optional" in m ? m.optional : m;
}
