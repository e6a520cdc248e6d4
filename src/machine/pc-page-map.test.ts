import assert from "node:assert/strict";
import { test } from "node:test";
import { pageMapText } from "./pc-page-map.js";

const CR0 = 0x80000001;
const LONG = { cr0: CR0, cr4: 0x20, efer: 0x500 };

/** Physical memory of 64 KiB with some entries set. */
function text(
  state: Parameters<typeof pageMapText>[0],
  entries: readonly (readonly [address: number, entry: bigint])[],
  bytes = 8,
) {
  const memory = new DataView(new ArrayBuffer(0x10000));
  for (const [at, e] of entries)
    if (bytes === 8) memory.setBigUint64(at, e, true);
    else memory.setUint32(at, Number(e), true);
  return pageMapText(state, (at, n) => new DataView(memory.buffer, at & 0xfff0, Math.min(n, 0x10000 - (at & 0xfff0))));
}

/** Rows: what is mapped, and the lines. */
const rows: [what: string, text: string, lines: string[]][] = [
  ["no paging", text({ cr0: 1, cr3: 0n, cr4: 0, efer: 0 }, []), ["PG disabled"]],
  ["nothing mapped", text({ ...LONG, cr3: 0x1000n }, []), [""]],
  [
    "long mode: pages join, rights of all levels together, large pages, the upper half",
    text({ ...LONG, cr3: 0x1000n }, [
      [0x1000, 0x2007n],
      [0x1ff8, 0x5003n],
      [0x2000, 0x3007n],
      [0x3000, 0x4007n],
      [0x3008, 0x85n],
      [0x4008, 0x9007n],
      [0x4010, 0xa007n],
      [0x4018, 0xb005n],
      [0x5ff0, 0x83n],
    ]),
    [
      "0000000000001000-0000000000003000 0000000000002000 urw",
      "0000000000003000-0000000000004000 0000000000001000 ur-",
      "0000000000200000-0000000000400000 0000000000200000 ur-",
      "ffffffff80000000-ffffffffc0000000 0000000040000000 -rw",
    ],
  ],
  [
    "PAE: the pointers give no rights, CR3 counts in 32 bytes",
    text({ cr0: CR0, cr3: 0x1020n, cr4: 0x20, efer: 0 }, [
      [0x1038, 0x2001n],
      [0x2ff8, 0x87n],
    ]),
    ["00000000ffe00000-0000000100000000 0000000000200000 urw"],
  ],
  [
    "32 bits with and without large pages",
    text(
      { cr0: CR0, cr3: 0x1000n, cr4: 0x10, efer: 0 },
      [
        [0x1000, 0x83n],
        [0x1004, 0x2007n],
        [0x2000, 0x5005n],
      ],
      4,
    ),
    ["0000000000000000-0000000000400000 0000000000400000 -rw", "0000000000400000-0000000000401000 0000000000001000 ur-"],
  ],
];

test("info mem", () => {
  for (const [what, got, lines] of rows) assert.equal(got, `${lines.join("\n")}\n`, what);
});

test("hostile 18: tables that map themselves end", () => {
  const all = Array.from({ length: 512 }, (_, i) => [0x1000 + 8 * i, 0x1007n] as const);
  const lines = text({ ...LONG, cr3: 0x1000n }, all)
    .trimEnd()
    .split("\n");
  assert.match(lines.at(-1)!, /^\(more than 20000 tables/);
});
