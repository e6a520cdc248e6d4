/**
 * The LZMA decoder as a WebAssembly function, made with the translator's module writer. A kernel is a hundred million binary
 * decisions; the writer serves as a macro assembler for them, so that range coder and probabilities stay in locals and most
 * decisions need no branch: the sign of `code - bound` becomes a mask (that is why both are 64 bits wide), and the
 * probabilities of both children of a tree's node are fetched before it is known which is next.
 *
 * Source: LZMA specification (I. Pavlov, lzma-specification.txt, public domain).
 * Memory: the decoder's state (`Lzma`, probabilities) below `LZMA_STATE_END`, input and output anywhere above. Whatever the
 * input, it reads and writes nothing but this one memory, at most `SLACK` bytes behind the ends of input and output, and it
 * ends: every turn of the main loop makes output or fails.
 * Not done: end markers, which LZMA2 does not have.
 *
 * One function on purpose, above 500 lines: calls inside would put the range coder into memory.
 */
import { type FuncType, FunctionWriter } from "../../accel/tcg/wasm/writer.js";

/** Bytes that must follow input and output. */
export const SLACK = 64;

const STATES = 12;
const POS_STATES = 16;
/** Probabilities start at one half, in 11 bits. */
const PROB_BITS = 11;
const PROB_HALF = 1 << (PROB_BITS - 1);
const MOVE_BITS = 5;
/** What makes one shift serve both directions of an update: 31 - 2048. */
const MOVE_ZERO = (1 << MOVE_BITS) - 1 - (1 << PROB_BITS);
const TOP = 1 << 24;
const LITERAL_PROBS = 0x300;
const LITERAL_CODERS = 16;
const MATCH_MIN = 2;
const END_SLOT = 14;

/** Byte addresses. Probabilities are 16-bit. */
let next = 1024;
const take = (count: number) => {
  const at = next;
  next += 2 * count;
  return at;
};
const IS_MATCH = take(STATES * POS_STATES);
const IS_REP0_LONG = take(STATES * POS_STATES);
const IS_REP = take(STATES);
const IS_REP_G0 = take(STATES);
const IS_REP_G1 = take(STATES);
const IS_REP_G2 = take(STATES);
const SLOT = take(4 * 64);
const SPECIAL = take(128);
const ALIGN = take(16);
/** A length coder: choice, choice2, low, mid (8 for each position state), high. */
const LEN_CHOICE = 0;
const LEN_CHOICE2 = 2;
const LEN_LOW = 4;
const LEN_MID = LEN_LOW + 2 * 8 * POS_STATES;
const LEN_HIGH = LEN_MID + 2 * 8 * POS_STATES;
const LEN_PROBS = 2 + 2 * 8 * POS_STATES + 256;
const LEN = take(LEN_PROBS);
const REP_LEN = take(LEN_PROBS);
const LITERAL = take(LITERAL_PROBS * LITERAL_CODERS);
const PROBS_END = next;

/** Where things lie in the module's memory. */
export const Lzma = {
  /** u32: state, four distances less 1, lc, mask of lp, mask of pb, where the dictionary began. */
  state: 0,
  rep0: 4,
  rep1: 8,
  rep2: 12,
  rep3: 16,
  lc: 20,
  lpMask: 24,
  pbMask: 28,
  dictionaryStart: 32,
} as const;
/** Nothing of the decoder's lies at or above this address. */
export const LZMA_STATE_END = 32768;

/** What `decode` answers. */
export const LzmaResult = { done: 0, damaged: 1 } as const;

/** All probabilities to one half, state and distances to 0. */
export function resetState(memory: ArrayBuffer): void {
  new Uint16Array(memory, IS_MATCH, (PROBS_END - IS_MATCH) / 2).fill(PROB_HALF);
  new Uint32Array(memory, 0, 5).fill(0);
}

/** Parameters of `decodeFunction`: input, its end, output, its end (addresses), the range coder's first value. Result: `LzmaResult`. */
export const DECODE_TYPE: FuncType = { params: ["i32", "i32", "i32", "i32", "i32"], results: ["i32"] };

/**
 * The body of a function that decodes one LZMA2 chunk. `input` is behind the five bytes that start the range coder; the
 * state goes on from the chunk before. Done means: just as much output as asked for, and input used up to its last bit.
 */
export function decodeFunction(): Uint8Array {
  const w = new FunctionWriter(DECODE_TYPE.params);
  const [input, inputEnd, output, outputEnd, codeIn] = [0, 1, 2, 3, 4];
  const i32 = () => w.local("i32");
  const i64 = () => w.local("i64");
  const state = i32();
  const [rep0, rep1, rep2, rep3] = [i32(), i32(), i32(), i32()];
  const [lc, lpMask, pbMask, dictStart] = [i32(), i32(), i32(), i32()];
  const [posState, base, sym, len, distance, slot, at, source, matchByte, offset, bits] = [
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
  ];
  const [range, code, p, bound, mask, left, right] = [i64(), i64(), i64(), i64(), i64(), i64(), i64()];

  // --- Small words for stack code. ---
  const get = (...locals: number[]) => locals.forEach((l) => void w.get(l));
  const op = (name: string, imm = 0) => w.op(name, imm);
  const i32op = (name: string, constant: number) => {
    w.i32(constant);
    w.op(`i32.${name}`);
  };
  const i64op = (name: string, constant: number) => {
    w.i64n(constant);
    w.op(`i64.${name}`);
  };
  const when = (then: () => void, otherwise?: () => void) => {
    w.if();
    then();
    if (otherwise) {
      w.else();
      otherwise();
    }
    w.end();
  };
  const assign = (local: number, value: number) => {
    w.i32(value);
    w.set(local);
  };
  const load = (local: number, from: number) => {
    w.i32(0);
    op("i32.load", from);
    w.set(local);
  };
  const store = (local: number, to: number) => {
    w.i32(0);
    get(local);
    op("i32.store", to);
  };

  const normalize = () => {
    get(range);
    i64op("lt_u", TOP);
    when(() => {
      get(range);
      i64op("shl", 8);
      w.set(range);
      get(code);
      i64op("shl", 8);
      get(input);
      op("i64.load8_u");
      op("i64.or");
      w.set(code);
      get(input);
      i32op("add", 1);
      w.set(input);
    });
  };
  const takeBound = () => {
    get(range);
    i64op("shr_u", PROB_BITS);
    get(p);
    op("i64.mul");
    w.set(bound);
  };

  /** A decision that the program's flow follows. The address of the probability is `push()` + `imm`. */
  const branch = (push: () => void, imm: number, zero: () => void, one: () => void) => {
    normalize();
    push();
    w.tee(at);
    op("i64.load16_u", imm);
    w.set(p);
    takeBound();
    get(code, bound);
    op("i64.lt_u");
    when(
      () => {
        get(bound);
        w.set(range);
        get(at, p);
        w.i64n(1 << PROB_BITS);
        get(p);
        op("i64.sub");
        i64op("shr_u", MOVE_BITS);
        op("i64.add");
        op("i64.store16", imm);
        zero();
      },
      () => {
        get(range, bound);
        op("i64.sub");
        w.set(range);
        get(code, bound);
        op("i64.sub");
        w.set(code);
        get(at, p, p);
        i64op("shr_u", MOVE_BITS);
        op("i64.sub");
        op("i64.store16", imm);
        one();
      },
    );
  };

  /** A decision without a branch: `p` is its probability, at `at` + `imm`; leaves -1 for bit 0 and 0 for bit 1 in `mask`. */
  const decide = (imm: number) => {
    takeBound();
    get(code, bound);
    op("i64.sub");
    w.tee(code);
    i64op("shr_s", 63);
    w.set(mask);
    get(code, bound, mask);
    op("i64.and");
    op("i64.add");
    w.set(code);
    get(range, bound);
    op("i64.sub");
    w.tee(range);
    get(bound, range);
    op("i64.sub");
    get(mask);
    op("i64.and");
    op("i64.add");
    w.set(range);
    get(at, p, p, mask);
    i64op("and", MOVE_ZERO);
    op("i64.add");
    i64op("shr_s", MOVE_BITS);
    op("i64.sub");
    op("i64.store16", imm);
  };
  /** sym = 2 sym + bit */
  const shiftIn = () => {
    get(sym);
    i32op("shl", 1);
    get(mask);
    op("i32.wrap_i64");
    op("i32.add");
    i32op("add", 1);
    w.set(sym);
  };
  /** address of node `sym` of the tree at `base` */
  const node = () => {
    get(base, sym);
    i32op("shl", 1);
    op("i32.add");
  };
  /** A tree of `count` bits at `base` + `imm`, high bit first; leaves 2^count + value in `sym`. Both children are fetched early. */
  const tree = (count: number, imm: number) => {
    assign(sym, 1);
    get(base);
    op("i64.load16_u", imm + 2);
    w.set(p);
    for (let i = 0; i < count; i++) {
      normalize();
      node();
      w.set(at);
      if (i < count - 1) {
        get(base, sym);
        i32op("shl", 2);
        op("i32.add");
        w.tee(source);
        op("i64.load16_u", imm);
        w.set(left);
        get(source);
        op("i64.load16_u", imm + 2);
        w.set(right);
      }
      decide(imm);
      shiftIn();
      if (i < count - 1) {
        get(right, left, right);
        op("i64.sub");
        get(mask);
        op("i64.and");
        op("i64.add");
        w.set(p);
      }
    }
  };
  /** One bit of a reverse tree: adds 1 << index to `distance` when it is 1. `weight` pushes 1 << index. */
  const reverseBit = (imm: number, weight: () => void) => {
    normalize();
    node();
    w.tee(at);
    op("i64.load16_u", imm);
    w.set(p);
    decide(imm);
    shiftIn();
    get(distance);
    weight();
    get(mask);
    w.i64n(-1);
    op("i64.xor");
    op("i32.wrap_i64");
    op("i32.and");
    op("i32.add");
    w.set(distance);
  };

  for (const [l, a] of [
    [state, Lzma.state],
    [rep0, Lzma.rep0],
    [rep1, Lzma.rep1],
    [rep2, Lzma.rep2],
    [rep3, Lzma.rep3],
    [lc, Lzma.lc],
    [lpMask, Lzma.lpMask],
    [pbMask, Lzma.pbMask],
    [dictStart, Lzma.dictionaryStart],
  ] as const)
    load(l, a);
  w.i64n(0xffffffff);
  w.set(range);
  get(codeIn);
  op("i64.extend_i32_u");
  w.set(code);

  const failed = w.block();
  const finished = w.block();
  const main = w.loop();
  get(output, outputEnd);
  op("i32.ge_u");
  w.brIf(finished);
  get(input, inputEnd);
  op("i32.gt_u");
  w.brIf(failed);
  get(output, dictStart);
  op("i32.sub");
  get(pbMask);
  op("i32.and");
  i32op("shl", 1);
  w.set(posState);

  const byState = (shift: number) => () => {
    get(state);
    i32op("shl", shift);
  };
  const byStateAndPos = () => {
    get(state);
    i32op("shl", 5);
    get(posState);
    op("i32.add");
  };
  /** The byte at distance rep0 + 1. */
  const pushBack = () => {
    get(output, rep0);
    op("i32.sub");
    i32op("sub", 1);
  };
  /** Fails when the distance reaches behind the dictionary's beginning. */
  const checkDistance = () => {
    get(rep0, output, dictStart);
    op("i32.sub");
    op("i32.ge_u");
    w.brIf(failed);
  };
  const newState = (early: number, late: number) => {
    w.i32(early);
    w.i32(late);
    get(state);
    i32op("lt_u", 7);
    w.select();
    w.set(state);
  };
  const putLiteral = () => {
    get(output, sym);
    op("i32.store8");
    get(output);
    i32op("add", 1);
    w.set(output);
  };

  const literal = () => {
    // The coder: low bits of the position, high bits of the byte before.
    get(output, dictStart);
    op("i32.sub");
    get(lpMask);
    op("i32.and");
    get(lc);
    op("i32.shl");
    // The byte before the first is 0.
    w.i32(0);
    get(output);
    i32op("sub", 1);
    op("i32.load8_u");
    get(output, dictStart);
    op("i32.eq");
    w.select();
    w.i32(8);
    get(lc);
    op("i32.sub");
    op("i32.shr_u");
    op("i32.add");
    i32op("mul", 2 * LITERAL_PROBS);
    w.set(base);
    get(state);
    i32op("lt_u", 7);
    when(
      () => {
        tree(8, LITERAL);
        putLiteral();
        // 0..3 -> 0, 4..6 -> -3
        w.i32(0);
        get(state);
        i32op("sub", 3);
        get(state);
        i32op("lt_u", 4);
        w.select();
        w.set(state);
      },
      () => {
        checkDistance();
        pushBack();
        op("i32.load8_u");
        w.set(matchByte);
        assign(offset, 0x200);
        assign(sym, 1);
        // As long as the bits agree with those of the byte at rep0, they choose one of two more sets of probabilities.
        for (let i = 0; i < 8; i++) {
          normalize();
          get(matchByte);
          i32op("shl", 1 + (i === 0 ? 1 : 0));
          w.tee(matchByte);
          get(offset);
          op("i32.and");
          w.set(slot);
          node();
          get(offset, slot);
          op("i32.add");
          op("i32.add");
          w.tee(at);
          op("i64.load16_u", LITERAL);
          w.set(p);
          decide(LITERAL);
          shiftIn();
          // offset &= bit == match bit
          get(offset, slot, mask);
          op("i32.wrap_i64");
          op("i32.xor");
          op("i32.and");
          w.set(offset);
        }
        putLiteral();
        get(state);
        w.i32(3);
        w.i32(6);
        get(state);
        i32op("lt_u", 10);
        w.select();
        op("i32.sub");
        w.set(state);
      },
    );
    w.br(main);
  };

  /** Reads a length with the coder at `base`; leaves it in `len`. */
  const length = () => {
    const lowOrMid = (imm: number, start: number) => () => {
      get(base, posState);
      i32op("shl", 3);
      op("i32.add");
      w.set(base);
      tree(3, imm);
      get(sym);
      i32op("add", start - 8);
      w.set(len);
    };
    branch(
      () => get(base),
      LEN_CHOICE,
      lowOrMid(LEN_LOW, MATCH_MIN),
      () =>
        branch(
          () => get(base),
          LEN_CHOICE2,
          lowOrMid(LEN_MID, MATCH_MIN + 8),
          () => {
            tree(8, LEN_HIGH);
            get(sym);
            i32op("add", MATCH_MIN + 16 - 256);
            w.set(len);
          },
        ),
    );
  };

  /** rep0 from a slot and what follows it. */
  const newDistance = () => {
    get(len);
    i32op("sub", MATCH_MIN);
    w.i32(3);
    get(len);
    i32op("lt_u", MATCH_MIN + 4);
    w.select();
    i32op("shl", 7);
    w.set(base);
    tree(6, SLOT);
    get(sym);
    i32op("sub", 64);
    w.tee(slot);
    i32op("lt_u", 4);
    when(
      () => {
        get(slot);
        w.set(rep0);
      },
      () => {
        get(slot);
        i32op("shr_u", 1);
        i32op("sub", 1);
        w.set(bits);
        get(slot);
        i32op("and", 1);
        i32op("or", 2);
        get(bits);
        op("i32.shl");
        w.set(distance);
        get(slot);
        i32op("lt_u", END_SLOT);
        when(
          () => {
            // Nodes of slot s begin at distance - s, counted from 1.
            get(distance, slot);
            op("i32.sub");
            i32op("shl", 1);
            w.set(base);
            assign(sym, 1);
            assign(offset, 1);
            const again = w.loop();
            reverseBit(SPECIAL, () => get(offset));
            get(offset);
            i32op("shl", 1);
            w.set(offset);
            get(bits);
            i32op("sub", 1);
            w.tee(bits);
            w.brIf(again);
            w.end();
          },
          () => {
            // Direct bits above the four aligned ones.
            get(bits);
            i32op("sub", 4);
            w.set(bits);
            assign(slot, 0);
            const again = w.loop();
            normalize();
            get(range);
            i64op("shr_u", 1);
            w.set(range);
            get(code, range);
            op("i64.sub");
            w.tee(code);
            i64op("shr_s", 63);
            w.set(mask);
            get(code, range, mask);
            op("i64.and");
            op("i64.add");
            w.set(code);
            get(slot);
            i32op("shl", 1);
            i32op("add", 1);
            get(mask);
            op("i32.wrap_i64");
            op("i32.add");
            w.set(slot);
            get(bits);
            i32op("sub", 1);
            w.tee(bits);
            w.brIf(again);
            w.end();
            get(distance, slot);
            i32op("shl", 4);
            op("i32.add");
            w.set(distance);
            assign(base, 0);
            assign(sym, 1);
            for (let i = 0; i < 4; i++) reverseBit(ALIGN, () => w.i32(1 << i));
          },
        );
        get(distance);
        w.set(rep0);
      },
    );
  };

  const repLength = () => {
    newState(8, 11);
    assign(base, REP_LEN);
    length();
  };

  branch(byStateAndPos, IS_MATCH, literal, () => {});
  branch(
    byState(1),
    IS_REP,
    () => {
      get(rep2);
      w.set(rep3);
      get(rep1);
      w.set(rep2);
      get(rep0);
      w.set(rep1);
      newState(7, 10);
      assign(base, LEN);
      length();
      newDistance();
    },
    () => {
      branch(
        byState(1),
        IS_REP_G0,
        () =>
          branch(
            byStateAndPos,
            IS_REP0_LONG,
            () => {
              newState(9, 11);
              checkDistance();
              pushBack();
              op("i32.load8_u");
              w.set(sym);
              putLiteral();
              w.br(main);
            },
            () => {},
          ),
        () => {
          const rotate = (from: number, ...chain: number[]) => {
            get(from);
            w.set(distance);
            // The others move down by one.
            for (const [to, source] of chain.map((c, i) => [c, chain[i + 1]] as const)) {
              if (source === undefined) break;
              get(source);
              w.set(to);
            }
            get(distance);
            w.set(rep0);
          };
          branch(
            byState(1),
            IS_REP_G1,
            () => rotate(rep1, rep1, rep0),
            () =>
              branch(
                byState(1),
                IS_REP_G2,
                () => rotate(rep2, rep2, rep1, rep0),
                () => rotate(rep3, rep3, rep2, rep1, rep0),
              ),
          );
        },
      );
      repLength();
    },
  );
  // A match: len bytes from rep0 + 1 back.
  checkDistance();
  get(len, outputEnd, output);
  op("i32.sub");
  op("i32.gt_u");
  w.brIf(failed);
  pushBack();
  w.set(source);
  get(rep0);
  i32op("add", 1);
  w.set(distance);
  get(output);
  w.set(at);
  get(output, len);
  op("i32.add");
  w.set(output);
  const copy8 = () => {
    get(at, source);
    op("i64.load");
    op("i64.store");
  };
  // A short period: eight bytes stored, `distance` of them right; the period doubles.
  const near = w.block();
  const widen = w.loop();
  get(distance);
  i32op("ge_u", 8);
  w.brIf(near);
  copy8();
  get(at, distance);
  op("i32.add");
  w.set(at);
  get(distance);
  i32op("shl", 1);
  w.set(distance);
  w.br(widen);
  w.end();
  w.end();
  const copied = w.block();
  const copying = w.loop();
  get(at, output);
  op("i32.ge_u");
  w.brIf(copied);
  copy8();
  get(at);
  i32op("add", 8);
  w.set(at);
  get(source);
  i32op("add", 8);
  w.set(source);
  w.br(copying);
  w.end();
  w.end();
  w.br(main);
  w.end(); // main
  w.end(); // finished
  normalize();
  for (const [l, a] of [
    [state, Lzma.state],
    [rep0, Lzma.rep0],
    [rep1, Lzma.rep1],
    [rep2, Lzma.rep2],
    [rep3, Lzma.rep3],
  ] as const)
    store(l, a);
  // The encoder ends a chunk so that nothing is left.
  get(input, inputEnd);
  op("i32.eq");
  get(code);
  op("i64.eqz");
  op("i32.and");
  op("i32.eqz");
  w.return();
  w.end(); // failed
  w.i32(LzmaResult.damaged);
  return w.finish();
}
