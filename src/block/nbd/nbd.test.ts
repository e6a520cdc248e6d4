import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { debianTest } from "../../../testkit/debian.js";
import { VmError } from "../../base/errors.js";
import { nodeHost } from "../../host/node/index.js";
import { BlockGraph } from "../graph.js";
import { checkedByQemu, imageFolder, NBDKIT, QEMU_IMG, qemuImg, randomFrom } from "../test-images.js";

const at = imageFolder();

/** A server on a socket, ended with the test. */
async function serving(program: string, args: string[], socket: string, body: () => Promise<void>): Promise<void> {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  try {
    for (let i = 0; i < 500 && !existsSync(socket); i++) await delay(20);
    await body();
  } finally {
    child.kill();
    await new Promise((resolve) => (child.exitCode !== null || child.signalCode ? resolve(0) : child.once("close", resolve)));
  }
}

/** Random requests against a model. */
async function exercise(uri: string, size: number): Promise<void> {
  const g = new BlockGraph(nodeHost());
  try {
    await requests(g, uri, size);
  } finally {
    await g.close();
  }
}

async function requests(g: BlockGraph, uri: string, size: number): Promise<void> {
  const node = await g.openFile(uri, { readOnly: false, format: "raw" });
  assert.equal(node.sizeBytes, size);
  const model = new Uint8Array(size);
  const random = randomFrom(5);
  for (let round = 0; round < 20; round++) {
    const works: Promise<void>[] = [];
    for (let i = 0, p = 512 * random(size / 2048); i < 24 && p < size; i++) {
      const n = Math.min(size - p, 512 * (1 + random(64)));
      const data = new Uint8Array(n).fill(1 + random(255));
      if (random(5) === 0) {
        model.fill(0, p, p + n);
        works.push(node.writeZeroes(p, n, random(2) === 1));
      } else {
        model.set(data, p);
        works.push(node.write(p, data));
      }
      p += n;
    }
    await Promise.all(works);
    if (round % 5 === 0) await node.flush();
    const out = new Uint8Array(size);
    await node.read(0, out);
    assert.ok(Buffer.compare(out, model) === 0, `${uri}, round ${round}`);
  }
}

debianTest("qemu-nbd: read, write, zeroes, flush, extents, reconnection", [QEMU_IMG], async () => {
  const [file, socket] = [at("q.raw"), at("q.sock")];
  writeFileSync(file, new Uint8Array(4 << 20));
  const args = ["-f", "raw", "-k", socket, "-t", "-x", "e", "--discard=unmap", file];
  await serving("qemu-nbd", args, socket, async () => {
    await exercise(`nbd+unix:///e?socket=${socket}`, 4 << 20);
    const g = new BlockGraph(nodeHost());
    await assert.rejects(g.openFile(`nbd+unix:///other?socket=${socket}`, { readOnly: true }), /no such export/);
  });
});

debianTest("nbdkit: simple and structured replies, small requests, errors, read-only", [NBDKIT], async () => {
  const cases: [string, string[], RegExp | undefined][] = [
    ["memory", ["memory", "4M"], undefined],
    ["nostructured", ["--no-sr", "memory", "4M"], undefined],
    [
      "limit",
      [
        "--filter=blocksize-policy",
        "memory",
        "4M",
        "blocksize-minimum=512",
        "blocksize-maximum=64k",
        "blocksize-error-policy=error",
      ],
      undefined,
    ],
    ["error", ["--filter=error", "memory", "4M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"], /ENOSPC/],
    ["readonly", ["-r", "memory", "4M"], /read-only/],
    [
      "big-block",
      ["--filter=blocksize-policy", "memory", "4M", "blocksize-minimum=4096", "blocksize-error-policy=error"],
      /blocks of 4096 bytes/,
    ],
  ];
  for (const [name, args, refused] of cases) {
    const socket = at(`${name}.sock`);
    await serving("nbdkit", ["-f", "-U", socket, ...args], socket, async () => {
      const run = exercise(`nbd+unix:///?socket=${socket}`, 4 << 20);
      if (refused) await assert.rejects(run, refused, name);
      else await run;
    });
  }
});

debianTest("a qcow2 overlay over an export", [QEMU_IMG], async () => {
  const [file, socket, overlay] = [at("b.raw"), at("b.sock"), at("o.qcow2")];
  writeFileSync(file, new Uint8Array(1 << 20).fill(3));
  await serving("qemu-nbd", ["-f", "raw", "-k", socket, "-t", "-r", file], socket, async () => {
    const uri = `nbd+unix:///?socket=${socket}`;
    qemuImg("create", "-q", "-f", "qcow2", "-b", uri, "-F", "raw", overlay);
    const g = new BlockGraph(nodeHost());
    const node = await g.openFile(overlay, { readOnly: false });
    await node.write(4096, new Uint8Array(512).fill(4));
    const out = new Uint8Array(8192);
    await node.read(0, out);
    assert.deepEqual([out[0], out[4096], out[4608]], [3, 4, 3]);
    await g.close();
    checkedByQemu(overlay);
  });
});

/** A server made of a script: what it sends, and how many bytes it takes in between. */
type Step = { readonly send: Uint8Array } | { readonly take: number } | { readonly hang: true };
const u = (...parts: [number | bigint, number][]): Uint8Array => {
  const out: number[] = [];
  for (const [v, n] of parts) for (let i = n - 1; i >= 0; i--) out.push(Number((BigInt(v) >> BigInt(8 * i)) & 255n));
  return Uint8Array.from(out);
};
const GREETING = u([0x4e42444d41474943n, 8], [0x49484156454f5054n, 8], [3, 2]);
const REPLY = 0x3e889045565a9n;
const reply = (option: number, type: number, data: Uint8Array = new Uint8Array(0)) =>
  Uint8Array.from([...u([REPLY, 8], [option, 4], [type, 4], [data.length, 4]), ...data]);
const exportInfo = (size: bigint, flags = 1) => u([0, 2], [size, 8], [flags, 2]);
/** Up to the transmission: structured replies agreed on, no contexts, the export of 1 MiB. GO's request is 24 bytes. */
const START: Step[] = [
  { send: GREETING },
  { take: 4 + 16 },
  { send: reply(8, 1) },
  { take: 16 + 4 + 4 + 4 + 15 },
  { send: reply(10, 1) },
  { take: 16 + 8 },
];
const OPEN: Step[] = [...START, { send: reply(7, 3, exportInfo(1n << 20n)) }, { send: reply(7, 1) }];
const READ = { take: 28 };
const chunk = (flags: number, type: number, cookie: number, data: Uint8Array, length = data.length) =>
  Uint8Array.from([...u([0x668e33ef, 4], [flags, 2], [type, 2], [cookie, 8], [length, 4]), ...data]);

async function lying(steps: readonly Step[], body: (uri: string) => Promise<void>): Promise<void> {
  const socket = at(`lie${Math.floor(performance.now() * 1000)}.sock`);
  const sockets: Socket[] = [];
  const server = createServer((s) => {
    sockets.push(s);
    s.on("error", () => {});
    let taken = 0;
    let step = 0;
    const go = () => {
      for (; step < steps.length; step++) {
        const at = steps[step]!;
        if ("hang" in at) return;
        if ("send" in at) s.write(at.send);
        else if (taken < at.take) return;
        else taken -= at.take;
      }
      s.end();
    };
    s.on("data", (d) => {
      taken += d.length;
      go();
    });
    go();
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  try {
    await body(`nbd+unix:///?socket=${socket}`);
  } finally {
    for (const s of sockets) s.destroy();
    server.close();
  }
}

for (const [name, steps, message] of [
  ["nothing at all", [], /end-of-file|closed/],
  ["another magic", [{ send: u([1, 8], [2, 8], [3, 2]) }], /no NBD server/],
  ["oldstyle", [{ send: u([0x4e42444d41474943n, 8], [0x420281861253n, 8], [0, 2]) }], /oldstyle/],
  ["a reply to another option", [{ send: GREETING }, { take: 20 }, { send: reply(9, 1) }], /another option/],
  [
    "an option reply of 2^32-1 bytes",
    [{ send: GREETING }, { take: 20 }, { send: u([REPLY, 8], [8, 4], [1, 4], [0xffffffff, 4]) }],
    /reply of 4294967295 bytes/,
  ],
  ["an export of 2^63 bytes", [...START, { send: reply(7, 3, exportInfo(1n << 63n)) }], /too large/],
  ["export information cut short", [...START, { send: reply(7, 3, u([0, 2], [0, 4])) }], /wrong reply about the export/],
  ["no size", [...START, { send: reply(7, 1) }], /how large/],
  ["block sizes of 0", [...START, { send: reply(7, 3, u([3, 2], [0, 4], [0, 4], [0, 4])) }], /contradict/],
  [
    "endless information",
    [...START, ...Array.from({ length: 100 }, () => ({ send: reply(7, 3, u([9, 2])) }))],
    /too many replies/,
  ],
  ["data that was not asked for", [...OPEN, READ, { send: chunk(1, 1, 1, u([4096, 8], [0, 4])) }], /not asked for/],
  ["data of 2^32-1 bytes", [...OPEN, READ, { send: chunk(1, 1, 1, u([0, 8]), 0xffffffff) }], /not asked for/],
  ["an unknown cookie", [...OPEN, READ, { send: chunk(1, 0, 99, new Uint8Array(0)) }], /never sent/],
  ["less than asked", [...OPEN, READ, { send: chunk(1, 1, 1, u([0, 8], [0, 4])) }], /less than was asked/],
  [
    "a hole twice",
    [...OPEN, READ, { send: chunk(0, 2, 1, u([0, 8], [512, 4])) }, { send: chunk(1, 2, 1, u([0, 8], [512, 4])) }],
    /not asked for/,
  ],
  ["a simple reply to a read", [...OPEN, READ, { send: u([0x67446698, 4], [0, 4], [1, 8]) }], /simple reply/],
  ["a magic of nothing", [...OPEN, READ, { send: u([7, 4], [0, 4], [1, 8]) }], /bad magic/],
  ["an error without a form", [...OPEN, READ, { send: chunk(1, 0x8001, 1, u([0, 2])) }], /error of a wrong form/],
  ["an error", [...OPEN, READ, { send: chunk(1, 0x8001, 1, u([28, 4], [2, 2], [0x6869, 2])) }], /ENOSPC \(hi\)/],
  ["the end in the middle", [...OPEN, READ, { send: chunk(1, 1, 1, u([0, 8], [1, 4]), 520) }], /end-of-file|closed/],
] as [string, Step[], RegExp][])
  debianTest(`hostile 22: an NBD server that sends ${name}`, [], () =>
    lying(steps, async (uri) => {
      const g = new BlockGraph(nodeHost());
      const run = g.openFile(uri, { readOnly: true, format: "raw" }).then((node) => node.read(0, new Uint8Array(512)));
      await assert.rejects(run, (e: unknown) => {
        assert.ok(e instanceof VmError, String(e));
        assert.match(e.message, message);
        return true;
      });
      await g.close();
    }),
  );
