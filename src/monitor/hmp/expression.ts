/**
 * Expressions of the human monitor: numbers, characters, `$register`, `+ - * / % & | ^ ~` and parentheses, in 64 bits.
 * Precedence as in QEMU: sums of bitwise operations of products.
 */
import { VmError } from "../../base/errors.js";

/** Parentheses and signs nested at most so deep. */
const DEPTH_LIMIT = 64;

/** A value and where the text goes on after it. */
export interface Evaluated {
  readonly value: bigint;
  readonly end: number;
}

/**
 * Reads one expression at `start`; spaces may stand around operators.
 * @param register the value of a register, or undefined if there is none of that name
 * @throws VmError "monitor/bad-command"
 */
export function evaluate(text: string, start: number, register: (name: string) => bigint | undefined): Evaluated {
  let pos = start;
  let depth = 0;
  const fail = (what: string): never => {
    throw new VmError("monitor/bad-command", what);
  };
  const skip = () => {
    while (text[pos] === " " || text[pos] === "\t") pos++;
  };
  const wrap = (n: bigint) => BigInt.asUintN(64, n);

  const chain = (next: () => bigint, operators: string, apply: (op: string, a: bigint, b: bigint) => bigint) => (): bigint => {
    let value = next();
    for (;;) {
      skip();
      const op = text[pos];
      if (op === undefined || !operators.includes(op)) return value;
      pos++;
      value = wrap(apply(op, value, next()));
    }
  };

  const unary = (): bigint => {
    skip();
    if (++depth > DEPTH_LIMIT) fail("expression nested too deeply");
    try {
      const c = text[pos];
      switch (c) {
        case undefined:
          return fail("unexpected end of expression");
        case "+":
          pos++;
          return unary();
        case "-":
          pos++;
          return wrap(-unary());
        case "~":
          pos++;
          return wrap(~unary());
        case "(": {
          pos++;
          const value = sum();
          skip();
          if (text[pos] !== ")") fail("')' expected");
          pos++;
          return value;
        }
        case "'": {
          const ch = text[pos + 1];
          if (ch === undefined || text[pos + 2] !== "'") return fail("missing terminating ' character");
          pos += 3;
          return BigInt(ch.charCodeAt(0));
        }
        case "$": {
          const name = /^[A-Za-z_][\w.]*/.exec(text.slice(pos + 1))?.[0] ?? "";
          pos += 1 + name.length;
          return register(name.toLowerCase()) ?? fail("unknown register");
        }
      }
      const digits = /^(?:0x[0-9a-f]+|[0-9]+)/i.exec(text.slice(pos))?.[0];
      if (digits === undefined) return fail("invalid char in expression");
      if (/[A-Za-z0-9_]/.test(text[pos + digits.length] ?? "")) return fail("invalid char in expression");
      pos += digits.length;
      const octal = /^0[0-9]+$/.test(digits);
      if (octal && /[89]/.test(digits)) return fail("invalid char in expression");
      const value = BigInt(octal ? `0o${digits.slice(1)}` : digits);
      return value < 1n << 64n ? value : fail("number too large");
    } finally {
      depth--;
    }
  };
  const product = chain(unary, "*/%", (op, a, b) => {
    if (op === "*") return a * b;
    if (b === 0n) return fail("division by zero");
    return op === "/" ? a / b : a % b;
  });
  const logic = chain(product, "&|^", (op, a, b) => (op === "&" ? a & b : op === "|" ? a | b : a ^ b));
  const sum: () => bigint = chain(logic, "+-", (op, a, b) => (op === "+" ? a + b : a - b));

  const value = sum();
  skip();
  return { value, end: pos };
}
