/** Takes the properties of one option out of a map, checked; what is left at the end is unknown. */
import { VmError, type VmErrorCode } from "../../base/errors.js";
import { parseNumber, parseSize, parseSwitch } from "./grammar.js";

/** Reads the properties of one option. Messages begin with `origin`, the option as written. */
export class PropReader {
  private readonly left: Map<string, string>;

  constructor(
    props: ReadonlyMap<string, string>,
    readonly origin: string,
  ) {
    this.left = new Map(props);
  }

  fail(
    code: Extract<VmErrorCode, `${"option" | "machine" | "cpu" | "device" | "chardev" | "accel"}/${string}`>,
    what: string,
  ): never {
    throw new VmError(code, `${this.origin}: ${what}`);
  }

  text(name: string): string | undefined {
    const v = this.left.get(name);
    this.left.delete(name);
    return v;
  }

  need(name: string): string {
    const v = this.text(name);
    return v === undefined || v === "" ? this.fail("option/missing", `Parameter '${name}' is missing`) : v;
  }

  flag(name: string): boolean | undefined;
  flag(name: string, otherwise: boolean): boolean;
  flag(name: string, otherwise?: boolean): boolean | undefined {
    const v = this.text(name);
    if (v === undefined) return otherwise;
    return parseSwitch(v) ?? this.fail("option/invalid", `Parameter '${name}' expects 'on' or 'off', not '${v}'`);
  }

  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const v = this.text(name);
    if (v === undefined) return undefined;
    return (
      choices.find((c) => c === v) ??
      this.fail("option/invalid", `Parameter '${name}' does not accept value '${v}': one of ${choices.join(", ")}`)
    );
  }

  number(name: string, min = 0, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const v = this.text(name);
    if (v === undefined) return undefined;
    const n = parseNumber(v);
    if (n === undefined) return this.fail("option/invalid", `Parameter '${name}' expects a number, not '${v}'`);
    return n >= min && n <= max ? n : this.fail("option/invalid", `Parameter '${name}' expects ${min} to ${max}, not '${v}'`);
  }

  size(name: string, defaultSuffix: "B" | "M" = "B"): number | undefined {
    const v = this.text(name);
    if (v === undefined) return undefined;
    return (
      parseSize(v, defaultSuffix) ??
      this.fail("option/invalid", `Parameter '${name}' expects a size (suffixes k, M, G, T), not '${v}'`)
    );
  }

  /** Takes a property that only has one supported value; another is refused by name. */
  only(name: string, allowed: readonly string[], why = "is not supported"): void {
    const v = this.text(name);
    if (v !== undefined && !allowed.includes(v)) this.fail("option/unsupported", `${name}=${v} ${why}`);
  }

  /** Refuses properties that QEMU has and we have not. */
  refuse(...names: readonly string[]): void {
    for (const name of names) if (this.left.has(name)) this.fail("option/unsupported", `Parameter '${name}' is not supported`);
  }

  /** What has not been taken. */
  rest(): ReadonlyMap<string, string> {
    return this.left;
  }

  /** @throws VmError "option/unknown" if anything is left */
  end(): void {
    for (const name of this.left.keys()) this.fail("option/unknown", `Invalid parameter '${name}'`);
  }
}
