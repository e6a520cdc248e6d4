import assert from "node:assert/strict";
import { test } from "node:test";
import { isXz, unpackXz } from "./xz.js";

/** Bytes without a pattern, the same every time. */
function noise(length: number, seed: number): Uint8Array {
  let x = seed;
  return Uint8Array.from({ length }, () => {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    return x >>> 24;
  });
}

const packed = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

const TEXT = new Uint8Array(
  Buffer.from(`${"A kernel is unpacked once. ".repeat(40)}Kernels are unpacked twice; a kernel, unpacked.`),
);
/** Opcodes and top bytes of operands in every order, so that opcodes lie in each other's operands. */
const OPERANDS = [0xe8, 0xe9, 0, 0xff, 0xe8, 1];
const BRANCHES = noise(3000, 7).map((b) => OPERANDS[b % 6]!);
const FAR = new Uint8Array(600000);
for (const [i, at] of [0, 70, 1000, 40000, 300000, 599000].entries()) FAR.set(noise(300, 5).subarray(0, 300 - 20 * i), at);
const NOISE = noise(300, 9);

/** Made with XZ Utils 5.4. */
const FILES: readonly [name: string, contents: Uint8Array, file: Uint8Array][] = [
  [
    "CRC-32",
    TEXT,
    packed(
      "/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4ARmAD5dACCICWZTyE5FALk50z+smhC7Uig6Z6MXFP6euabNAx9vR0D1ydAFYURUj8+DcYxPvV65IXzcAn2zWsz0" +
        "Zr+eAAAAdiqFMgABVucIAAAAFwzCRj4wDYsCAAAAAAFZWg==",
    ),
  ],
  [
    "the x86 filter",
    BRANCHES,
    packed(
      "/Td6WFoAAAFpIt42AgEEACEBFgANhjUf4Au3Bh5dAHQAGNVQ3AnzCvnondj2o/e0DsJbictrmQohYPjTT9+T4K6twnLKQYnSygWxBPTPtKXJ3HPtgaIibOrs" +
        "0UwL4ywTJNry+aSRLempXXFoZ8qOv90Rszr8Xoa/kU88HX6DW66sqadXY+UgoGD0PnwurKb8ZSh0U3yIlWbZKXiTnxSVGfe1XY8CE+3xIrUieMKyCou2e7wU" +
        "qrAVkzGLM0ida22Z0926iB/KUl+ML7oWJDGudPu9WuUDcfISAD7VPhFSXTQosW84/QgC4atSAOO8Lc34bh/YqONO8FRXDXqnGVuwShqyoWEIi1OJJxqsNF9x" +
        "xRovRnwLdbQhlGvq8J5w/sYQsHWk12ZWm7AdLKZJd0adwllySkoafrG6gaFfCoMMxwWLA2PbkbgHzPGAbp0vy7rsZXxLXz6scCNk34GDcFqZDTRUIJss8usj" +
        "heggSaAn3gFaq+qbRw1n3zh4Qq08iXveiqv3vB9d6me47T++DsnmF/3H1777wo8WHOhFZnW3yxPqANmuWnXllcWYwh8fQ+G8GgPMvUk+405mrjEHQG/HbimT" +
        "DgaQmoKT30ZP6xPK9ie6HvVKA/NHlHenEW+142y0ZIqGIn1NETCt5p30otBAKtDw9ZPQ+vdLIKGOULJJPbCcZzcLy0Sel14q5xe+mxj5OKCSgsvHndTonfwJ" +
        "eikyLHV7j8Kkjy2P0PDMN+QNbbcklo2QxFqOWkt8HMLndatQlgm9ts+o+AbGJyzWryL6W8X1Yv1zdxFN/+Sm6m8anmXVY2xf3ljrZu3Mdv1QF50MMEYtNbVB" +
        "rIqOD4rvv5xA52n+h/OoxmFdaHv2QpoBdRI4V+LjDsNMr7GBrXTBfr63DPTURTIPTER87iw5VmqsD9ZZy7af58CfwpjY2SFc/LF2XyHbWZB9Cs7eMyoF+1/k" +
        "lky0Zp9q9WCYA43GOCOolJ8AC4INts6DuuvCEpWDduH9iUINZA+22OREEYDOC+wHFF4GkPiXXAwVulxoAKyxhimoAzwXxEapwuQW8BKnXtdMXJv9fugc0rY1" +
        "GqI7DQpgq9fqVuUBvWyDa11NRsa/TtxMtMh88nYy/qbf1he4QG39QNj4G3si+WvT58EwiU22FlBKCE2J3GzIlzhbCuBKqfst/aUhiJxtc6MgVDyn1UQut1m6" +
        "tt/GKxlEAutO6C/voAzJoROJ15BV8PnUA7hKGPZCbHlZ3MbfVYe/oG4s9h+brQF99x3VClJhm1S/13jmrWPRwsPjmuelMVRCrJ9DwXCen9Mxvd9r5vhyh38K" +
        "zRoMUfpO0oTb2Q9n3Zzrk3laeC0MJvG6YxaUt9R0n2dfI3leEALito2V/lmcPMeBjlZf1mCheTu2bbaGzd5aLRZ71MDp2nXyK+ew+34sTXOwRMqzAMNqsGRU" +
        "hpk1tsKm9P9BQcM9yYdx/8gi6q3Gejx7aNndingWvYGn9IeqeOgk1o7VfPd+A+w8SlJemoLTd9O4K4glN6sxlrnsIJM2nk3/xJZmQVVIuyp6hUnGbKEgwxFf" +
        "HNmO46WeeX0sEPn9R/TWMnmAHFO8wPzDGg9f0VE9CXOSPhsuEiSwq8UeeMYvDmjs6cWCkco72jBQntKz9+S20Gay02qsoukmXAeW1Q84O0AR8oa8vO2hE5gr" +
        "FF8Sh5Z6En1Ov4LJmT/j4BkgzpEhVXxEnqHulnSCfxpVVoxu8IBvmL7Iy+ROxhn6QcDs/YOQyz9cCVairW3ScCCzBbQsLsildwVUJd/hdzaJWmpvpsi95cvY" +
        "5RP6r6GfoqBvjkUsF4iLgUbQrNnOBaZJONAXX8hzXBww91v7rqnspjnarbB+/2AeS2J6X7A/9QldqFdQ0+6LbPY4GsKZga+SGzsbkzvC2WBhn2dfqLYhM7ki" +
        "p0C06sWXqz/QwrQFCi6g8T2n5im3djNSgd+Rb24jSdjoy6w+TBpbJXi2pU6zr7xc2TQfb+GhOMNIuhtfQkM9l2vo2v8HM2QT3hJk9ZDSWLKAbtOW/MCCcG4m" +
        "cGYk5bOCxNjw5RKac750F4ALNwC+7FrdNR3jhcsivmcN57dDmkSEKTqYZb8xMGsRoAlRsSTuUv8JX0t6dvqVMeclwAAAAEumUdwAAbYMuBcAADQamQs+MA2L" +
        "AgAAAAABWVo=",
    ),
  ],
  [
    "far matches, CRC-64",
    FAR,
    packed(
      "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj6Se/AeNdACQoQSfFZZJQraxBdx3Di1RRLt0yc36o76UDbFKgPIbIGF3t7pWTp8q/0OV3Kcc7m8SIK3cOuCQEv9WC" +
        "L33aWBO93jBxGKkaYVREJxZVNfxjCUar9+PDzn/9xRrU4upus09hrqmNU56DEO5zVEimVuQGzv2ZwHVhhgTWChgCS1aOURJ4EPHvf+ljQl6Fv2BFiect9x5F" +
        "utsX8FTcthG9fQ4CH2dFkjz4ZBvRCi8NYqmCCY08MJ02GCbf8N0wWz6TjFGMbSkLOlE3WkI2spgWw4ghTyHQ/TqPSoFJrr1T2ZlasJvM8E6yWwG0IjvBDmrp" +
        "b8F6q6YIgqgtwRE0znySSf41zxaKU04W1eBbYxveRYpMP/BcFJ8S39gFWmYSHx+4do5QDQ/rQWEt6VWDlUbFm5Lt8DuIfHdo32UZjTewMwABKOWL2GMddj9x" +
        "W8pjSTnnRV5KBpK2ZmtFOF/s9c9Dp7J68DLnh4Y7EAB3j7Jji0pqzydtF4voHAMKf/dgeQjzf+84sTR3C2U3tPowtZ2Jp2x/CJ9XrLZN4Wkdb/tLiBBsQsuG" +
        "9AmYnx5DBe9vZlvatm+8eSG1qDOPYoR9WlFiknRJXMRtspLnoMjOBwTun96l20Y8AfSdSrX0h9B/5YVpF2FBAAAAQJuwYErH0ScAAf8DwM8kABzbZ32xxGf7" +
        "AgAAAAAEWVo=",
    ),
  ],
  [
    "stored chunks, no check",
    NOISE,
    packed(
      "/Td6WFoAAAD/EtlBAgAhARYAAAB0L+WjAQErT6srNFY0sxs/iOFzjvfZwP40GNqzL/+NpM+OeMVXoUg8pe7ksIKrI4HdhTtlflHo0JywCRpuhydBj/QqxtQ7" +
        "P/jwxo+/AzFpn+8G/JYMmKoVmym0GxNIs04mEBeQFbe4Xq+VJg8imDO0asEGIwUtl4xDuWqKV0vzje5U6isMB4WRZGdVPGgcQajUvuaZZflAQQPDdUeOhCaM" +
        "G92PKkSLdATqdYXsdunPL5CuYhHIUC+JpdbcPizSBaO+diys5w5Ncngj29EOFJXI3vN/MWT07AdNq2FovAPH+sWTIV65x9blowE4qQmgyMHYmHsqDBL5rH8q" +
        "hMnpzR6C+FYMdRpZ0LFczjg/YXoXMHVV1LkuQ9ewGWaAcnjWOPn8jMi2B9P4eO1wNGoofa/5iIxAAAABvAKsAgAAYCak0KgACvwCAAAAAABZWg==",
    ),
  ],
  [
    "other properties, SHA-256",
    TEXT,
    packed(
      "/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4ARmAD8TACCISqvKpssPf3CBJIu1vE8VEsdZ5JsKXgfDskgKkMCshTUP53uQUtY32I/YzRNtyzYXNgi8xX767aS+" +
        "1HQgAAAAi9K7obOQuPIBqHIlmLolQdv77A8lyzS1NI6FWgvjHHEAAXPnCAAAAJKYoxG26d8cAgAAAAAKWVo=",
    ),
  ],
  [
    "three blocks",
    TEXT,
    packed(
      "/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4AHzACRdACCICWZTyE5FALk50z+smhC7Uig6Z6MXFP6euabNAx82J3gAAAAIeCXRAgAhARYAAAB0L+Wj4AHzACRd" +
        "ADgYSJnNXBwlMdM+33/YSti4mTvgAE8P+m4jeF5etCSBQOwAAAC7h8l9AgAhARYAAAB0L+Wj4AB+ADldABAayKdV7dD4HnqPZRQme6KDe2DsQ7cG66/rfPrk" +
        "fWtoXrWevLuopczG0uUhkDGHQtvFOCy6GWfmAAAAAADNbAt5AAM89AM89ANRfwAA/v4RX5vjUUADAAAAAAFZWg==",
    ),
  ],
  [
    "the x86 filter at address 4096",
    BRANCHES.subarray(0, 500),
    packed(
      "/Td6WFoAAAFpIt42AwEEBAAQAAAhARYAXLHI++AB8wE/XQB0ABjVUNwJ8wr56J3Y9qP3tA7CW4nLa5kKIWD40ysWzjep6yG5op3n25iNixuRMhRhM0xV53N4" +
        "bzPQv13CfZpJd+gNzjk5qH+0W08tZHUaQEmn1uw3D7W/GNaoDGoHrLT8ivfHIqkCvy4uea3P6MUtHzshTElby774LDE8XkAzAb1eN8E05mH7njoYYQNCDgXl" +
        "FifMxM3SaiMSYfPSS1/BiCHrDFMr8XcTr+7+D3KYJ4iXodANDQaFop3g2ZTJf6CizejZlYVmxTf7mxhpNw6HZI6S/DkaIEggxzMI8onvdG7JqhvrKtZQ/Hqr" +
        "kEueHfyV+V0W+4UeHbCUoQMsN5PYPYQCd1spxjUWEJGaWY/Oa1h4XkFDJQiu9OpVBT9IiLEHAPQeip8kY/9TQ5wjJf+MIhysqlmUVs3Eehqj2xIgAADmm8ue" +
        "AAHbAvQDAAD4VC7KPjANiwIAAAAAAVla",
    ),
  ],
  ["nothing", new Uint8Array(0), packed("/Td6WFoAAAFpIt42AAAAABzfRCGQQpkNAQAAAAABWVo=")],
];
const LIMIT = 2 ** 20;

test("files of XZ Utils", () => {
  for (const [name, contents, data] of FILES) {
    assert.ok(isXz(data), name);
    assert.deepEqual(unpackXz(data, LIMIT)?.slice(), contents, name);
    assert.deepEqual(unpackXz(Uint8Array.of(...data, 1, 2, 3, 4), contents.length)?.slice(), contents, `${name}, more behind`);
    if (contents.length) assert.equal(unpackXz(data, contents.length - 1), undefined, `${name}, too large`);
  }
});

test("truncated files", () => {
  for (const [name, , data] of FILES)
    for (let n = 0; n < data.length; n++) assert.equal(unpackXz(data.subarray(0, n), LIMIT), undefined, `${name}, ${n} bytes`);
});

test("any byte changed: refused when a check covers it, never an exception, never another length", () => {
  for (const [name, contents, data] of FILES) {
    const checked = !/no check|CRC-64|SHA/.test(name);
    const step = Math.ceil(data.length / 200);
    for (let at = 0; at < data.length; at += step)
      for (const flip of [0x01, 0x90]) {
        const changed = data.slice();
        changed[at] = changed[at]! ^ flip;
        const got = unpackXz(changed, LIMIT);
        if (checked) assert.equal(got, undefined, `${name}, byte ${at} ^ ${flip}`);
        else assert.ok(got === undefined || got.length === contents.length, `${name}, byte ${at} ^ ${flip}`);
      }
  }
});

/** CRC-32, the slow way. */
function crc32(bytes: readonly number[]): number[] {
  let c = -1;
  for (const b of bytes) {
    c ^= b;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return [0, 8, 16, 24].map((s) => (~c >>> s) & 255);
}

/** A file without a check whose index says that these chunks make `size` bytes. */
function xzOf(chunks: readonly number[], size: number): Uint8Array {
  const number = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...number(n >>> 7)]);
  const pad = (b: number[]) => [...b, ...new Array<number>(-b.length & 3).fill(0)];
  const header = [2, 0, 0x21, 1, 0x16, 0, 0, 0];
  const index = pad([0, 1, ...number(12 + chunks.length), ...number(size)]);
  const footer = [index.length / 4, 0, 0, 0, 0, 0];
  return Uint8Array.of(
    ...[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0, ...crc32([0, 0])],
    ...[...header, ...crc32(header)],
    ...pad([...chunks]),
    ...[...index, ...crc32(index)],
    ...[...crc32(footer), ...footer, 0x59, 0x5a],
  );
}

test("hostile chunks", () => {
  const zeros = [0, 0, 0, 0, 0];
  for (const [name, size, want, ...chunks] of [
    ["a stored byte", 1, 7, 1, 0, 0, 7, 0],
    ["two of them, one dictionary", 2, 7, 1, 0, 0, 7, 2, 0, 0, 8, 0],
    ["a literal 0", 1, 0, 0xe0, 0, 0, 0, 5, 0x5d, ...zeros, 0, 0],
    ["a control byte that does not exist", 1, undefined, 3, 0, 0, 7, 0],
    ["a copy before the first dictionary", 1, undefined, 2, 0, 0, 7, 0],
    ["LZMA before the first dictionary", 1, undefined, 0x80, 0, 0, 0, 5, ...zeros, 0, 0],
    ["LZMA without properties", 2, undefined, 1, 0, 0, 7, 0xa0, 0, 0, 0, 5, ...zeros, 0, 0],
    ["lc + lp of 5", 1, undefined, 0xe0, 0, 0, 0, 5, 13, ...zeros, 0, 0],
    ["properties of 225", 1, undefined, 0xe0, 0, 0, 0, 5, 225, ...zeros, 0, 0],
    ["a range coder that does not begin with 0", 1, undefined, 0xe0, 0, 0, 0, 5, 0x5d, 1, ...zeros, 0],
    ["four bytes packed", 1, undefined, 0xe0, 0, 0, 0, 3, 0x5d, ...zeros, 0],
    ["more packed than is used", 1, undefined, 0xe0, 0, 0, 0, 6, 0x5d, ...zeros, 0, 0, 0],
    ["a match before the first byte", 9, undefined, 0xe0, 0, 8, 0, 9, 0x5d, 0, ...new Array<number>(9).fill(255), 0],
    ["a code above the range", 9, undefined, 0xe0, 0, 8, 0, 5, 0x5d, 0, ...new Array<number>(5).fill(255), 0],
    ["two megabytes out of six bytes", 2 ** 21, undefined, 0xff, 0xff, 0xff, 0, 5, 0x5d, ...zeros, 0, 0],
    ["no end", 1, undefined, 1, 0, 0, 7],
    ["another size in the index", 3, undefined, 1, 0, 0, 7, 0],
  ] as const)
    assert.equal(unpackXz(xzOf(chunks, size), 2 ** 22)?.[0], want, name);
});
