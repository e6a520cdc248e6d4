/**
 * A process that writes to a qcow2 image until it is killed, and says on stdout what it does before and after it does it.
 *   node --import tsx test-writer.ts IMAGE SEED FIRST
 * Slots of 4 KiB hold the number of the write that was there last, in every sector. Lines: "w NUMBER SLOT COUNT" before a
 * write, "d NUMBER" after it, "f NUMBER" when a flush that began after write NUMBER ended is over.
 */
import { writeSync } from "node:fs";
import { createSnapshot, deleteSnapshot } from "./qcow2/snapshots.js";
import { openQcow2, randomFrom } from "./test-images.js";

export const SLOT_BYTES = 4096;
export const SLOTS = 4096;

export function fillSlot(out: Uint8Array, number: number): void {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  for (let at = 0; at < out.length; at += 512) view.setUint32(at, number);
}

async function main(file: string, seed: number, first: number): Promise<void> {
  const random = randomFrom(seed);
  const image = await openQcow2(file, { discard: seed % 2 === 0 });
  const say = (line: string) => writeSync(1, `${line}\n`);
  let number = first;
  let done = first;
  const lanes = async () => {
    for (;;) {
      const n = ++number;
      const slot = random(SLOTS - 32);
      const count = 1 + random(random(3) === 0 ? 32 : 3);
      const data = new Uint8Array(SLOT_BYTES * count);
      fillSlot(data, n);
      say(`w ${n} ${slot} ${count}`);
      await image.write(slot * SLOT_BYTES, data);
      say(`d ${n}`);
      done = Math.max(done, n);
      if (random(12) === 0) {
        const flushed = [...finished].sort((a, b) => a - b);
        await image.flush();
        say(`f ${flushed.join(" ")} ${n}`);
      }
      finished.add(n);
      if (random(60) === 0) {
        const s = await createSnapshot(image, { name: `s${n}`, dateSec: 0, dateNsec: 0, vmClockNs: 0, vmStateBytes: 0 });
        if (random(2)) await deleteSnapshot(image, s.id);
      }
    }
  };
  const finished = new Set<number>();
  await Promise.all([lanes(), lanes(), lanes()]);
}

if (process.argv[1]?.endsWith("test-writer.ts")) await main(process.argv[2]!, Number(process.argv[3]), Number(process.argv[4]));
