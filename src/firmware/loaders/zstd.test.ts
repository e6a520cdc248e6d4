import assert from "node:assert/strict";
import { test } from "node:test";
import { isZstd, unpackZstd } from "./zstd.js";

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
/** Letters, the first ones more often. */
const LETTERS = noise(2000, 7).map((b) => 97 + ((b * b) >> 12));
const FAR = new Uint8Array(600000);
for (const [i, at] of [0, 70, 1000, 40000, 300000, 599000].entries()) FAR.set(noise(300, 5).subarray(0, 300 - 20 * i), at);
const MIXED = new Uint8Array(300000);
for (let i = 0; i < MIXED.length; i += 1777) MIXED.set(LETTERS.subarray(i % 1500, (i % 1500) + 3 + (i % 40)), i);

/** Made with zstd 1.5. */
const FILES: readonly [name: string, contents: Uint8Array, file: Uint8Array][] = [
  ["text", TEXT, packed("KLUv/WRnA90BALICChDA62DXiGxzT5KfHq8CRhBOB9DhqW09odXwPfeYvCSiZVZq800vFgEFAD2L0Cpzd5Vny9bA/4kHSH+JdA==")],
  [
    "letters: Huffman codes",
    LETTERS,
    packed(
      "KLUv/WTQBgUeAAp97A4PsDcH3d3dTUREiMwwDKMn6ADqAOgAk3MehEE1iEcZCYYJFVEArotesXxOpUDCYax7rqzpUha2IB8VojNoIyI1QFvFyN1ZT0Jsl0" +
        "iUOfzOYgSquSN5G1kQns9geyhTzJgZO7CBCWJB2F/von9XTtgD2QJVE7FRtvAg6zVCio7lDjfT7HoviuBtuuWEVXiImtlqpUfnX4t1VecQ+5LhuEKNy9ZN" +
        "zTWJXtsphGuxb4504HM7nu0g/U6f0fSU1XFziYmBLCiCkjPmztjYtXv0Cx8hq9g5lcSqUxupCBuMCKcMt+Dcr2mR0O78jKUwaILQ0QCUUNdcw0BvpMh5lV" +
        "VfBGCAlKZGUB4vugSXk4SdecnV5oBTWIiblYS3n9vKLy6duXfwgaCOGIOzI5hLBNnPt2W7DLSkj8TuLce4xoAs1RKfBVhSkDCwQ4z5KFlI61OWM/1dn7Ne" +
        "eLRyyIwtNSQbhrgB5d/7msz+TMiKDTO3hk5VAFe9TRjUoYph6641nwpMZXdQL4EarovOjy6sLFD5pvmHlDqAI0SRi76TjwUFXcZyemDk7bcJNAdYjOIoMt" +
        "D54lERCPLwAdtKewgUA0gVOWFghQmbsWwHQgwv1ObEugdM/QjiQeI+K/EqycZjG2a+SfaQwH5h7qg8BSWAalM/VJ8qHAa94iO4BugAiIS4ki7LE4I8YbQs" +
        "cmnJvwuRoqcWHeMaE10zK7Ka+S8XAq7Mg3KX6ekNgMuDxTX2gTajdExSL3hqHAIW1o6AkQgIUwrwRZptiDEAvPlYQ/msgT4CbIFq+s/B7m2gzteLpMk8fS" +
        "pOWti+zqFzF34TfqVTn7vQmynHTFprO8SdmVXRiwz8A3eGTR87TcgOZy0ULL4si27sCVDJMbYwI6POYXm012MF8yKiupe1SFfSA8BVkKBg90Wu1pQwlEDa" +
        "5jadYDUh9GYELTeJlNMrIGoLrjhFwhxuLU4XE2WhdJIDBFYpLEKCgSgyxB2k7JGgjmPIhKJDWTx+qAQlIqrAVDoKBjZpRHrbqYj0uEawPMGYg7zK14WcCJ" +
        "ZaEIzHhn6UiSxuDx69fB3P5u1NZXWKhrPRwJXyrYtA5Eoj4xagQMOBR1wzfTp5NECaMHZtDawP2QqdGH4wxFNta6umTtf3yB3b3C/s6o955hJ0KZNVPuTc" +
        "qaA6tLcD4X4ucBjTdQyHPhWAgfpEqZzI2ya5gwNONLVgl3BwFzKel5oyymg4wVgsSQUvHpQQEsrYrmE3AmJR86nZAfAJDCnz+YwSdDEUbEq471MJADvGsR" +
        "I=",
    ),
  ],
  [
    "far matches, no size in the header",
    FAR,
    packed(
      "KLUv/QRoDAoAlBFIoSl8p+VG3P/MdlJY0ytCcIN9X05hJ1roomgWCR7MHJV959fxmKLGG4yBpcD8F05afpXGIScTuWPFDll/JEJnoIjD1v4bEFAmEIaIrL" +
        "NSLjyd6ung3Z2bEayz+sQZURqgs/WGESNUEcpC6VYFEHq5k6FsUHXinvig0jKSJIVtKdgPpm88Pd7dO6l9ZvyLW4HmZ/gDlXSeAExL0rc6SzdGlcfmlVrW" +
        "yMQ7Z34LEfTq1svqVITCrc0h3MZG+emrfNwyIrR4EjPbERg7lZYOe0vB4j820Up/CQSkka3mYkI0FhaE+RXZeIpNq3/XUAqoywrXlj1jR77bkYOUkgciCI" +
        "TWsmyN4+6j9TpZKcWBaWLmMmI/9TKfFnnnAAkAZUugwzEF6LDJraC9hRkUHFNcHQ5FFhUElBYqmBpylRiToPgMAgAQAJwAAAAEQADFU6DnXYCeHb0fqe6J" +
        "DgICABAAfQAAAANAAB1BVdx/BFHVIzkIBlR+Sg==",
    ),
  ],
  [
    "stored bytes",
    noise(300, 9),
    packed(
      "KLUv/WQsAGEJAE+rKzRWNLMbP4jhc4732cD+NBjasy//jaTPjnjFV6FIPKXu5LCCqyOB3YU7ZX5R6NCcsAkabocnQY/0KsbUOz/48MaPvwMxaZ/vBvyWDJ" +
        "iqFZsptBsTSLNOJhAXkBW3uF6vlSYPIpgztGrBBiMFLZeMQ7lqildL843uVOorDAeFkWRnVTxoHEGo1L7mmWX5QEEDw3VHjoQmjBvdjypEi3QE6nWF7Hbp" +
        "zy+QrmIRyFAviaXW3D4s0gWjvnYsrOcOTXJ4I9vRDhSVyN7zfzFk9OwHTathaLwDx/rFkyFeucfW5aMBOKkJoMjB2Jh7KgwS+ax/KoTJ6c0egvhWDHUaWd" +
        "CxXM44P2F6FzB1VdS5LkPXsBlmgHJ41jj5/IzItgfT+HjtcDRqKH2v+YiMQBRe2K8=",
    ),
  ],
  ["repeated bytes", new Uint8Array(200000), packed("KLUv/aRADQMAVAAAEAAAAQD7/znAAgNqCADE6XRw")],
  [
    "several blocks, no checksum",
    MIXED,
    packed(
      "KLUv/aDgkwQATCAA6k2cCRCgtTnd+nt7e2kT/v///6l+lACVAJAAJf1A7AYmnW84KiMIPD9h2/UemkYUJsxbce7XtIGC3ZZU03/OcnoVRG3FHadomPPW44" +
        "hFIDS14lOJqewGVBJyQmVUiOuj11Aep1KSPA91z4VFmddiXzzQic/tYSwXIq6MsSdBJcfYw4wEdS6Ug/Z6Ah6ULNH6VeRkEDpMbg5lOwmxcFmbMdQ9YXlA" +
        "1itIHD2UO4EfAUG8TZcIqk39rD5VnqYcg4Xt57byj0tn7l3GcHoBAHdjPY2xXaJR5sJ3HkFSzR0BgNod9CscJFaxpE1QOgapl3AqODNUqB0RByIxTCkAhC" +
        "xJ2uI2nbSaEBoALDAzCvuHuaPyNDnnRS6qOexLFoIrBZ2CaIwL6bA8BYEnD4ZFLi2Ym37oNCE7zwgWY4M0h0FgP9+W7TLRtiHGCPHmY5uDaLlIraFTleKq" +
        "t8lFnRVctm5qrmn02o6eejQIrmCsZcXjw/Loxh6D4BojsFRrPNZk76N/F06hJ7AlqgaAo4UoWXZvE3W+fiBN5osOxWWkYZek5nXR+NEVCi/lYQ/yUSE6AU" +
        "1YL8pdpqc3IS5/WRvoSljO9Hd9znr5IccBjXssDFd4Ec2u96MBZRNdMyuymvkXoeAgGYQGA0e/5lpIeiNFxqvs6xw694iXXG3OMOVjXAAwxT+k1CnOGEZE" +
        "KhBtFSPVw+YaExNY0SBK7hikAqRHiOugQWn3Ra4ags1g3ILIgoMtMPNNsCcKs8qDUTNbrfRo0Wv4IC4AAMdMWmsbjBsRq6MXYOTtt0kUA/EIGs5nQnuWKe" +
        "NUMFSd2oGKQtPQAoCAqJEFxBhCBIQIDDKB0KS4DSE94RuCoNMDQhgMCMI4ioIIEIaBEAZBCBCEICFICEYQgt8/QqU6YFq+ZIM8W8hxze1sDMo8DO5sUW/D" +
        "yU8cspvXDgd3rSF2mO1rTfXLMJd4iw0euNS2ciTo3wm4Df2cNFtwAbBJ3b6ExLG9Aijj8euBUMacvYF+YNbc4siKNhPOV5hxS4rKbgkb8ZndTk3E2HqAfj" +
        "24k9w0obY4sudmwpl5PQhnY5sBpH7osmhTHbpl7wrl8ANvh5q0YntFQsaq3GF2iWVobz3zeoCHyIZ+rPcKF7Y30KZsr6jJg7s0uM25uuXBtVm7Dq43u/CS" +
        "ntyX8Ht284p6wnAryjjZTp+HB3e8uW3BOUAB2UqRUdsrIvX/Mryt84azU1MOCbxdQjacSPngLjDbzTuiB2afCp2obbBpLEA/sN1dBSrLvy3igGynb2Gt9u" +
        "e+hPyixV+LZeeuLzEbg4Z2S4axVVgLU7pTE77QMqpwK6UAWLHfnYgNtLsbImJXVUuTubzCrUJbMOjDDSdEkxVOW4LJ1eVddEQWAPdQIh8AIQAhAH/vazL7" +
        "MyEr418b6qrOMWPm0IUtbBDLYd8snzXpM0RWAl5EVJv6oPo1ha906nMX+iIXfQc/lDCMuRNsbDpphQFGHnRQDvj3UarVQ6IYQfAzhsMEG6QOovxRoTYg/U" +
        "6f0RQkCH/iDlUstG4iFpSnT8dByxKFi8c1BgBWDplDS084CALvgMuoEYsEIiJJkqQxgVzhFYKQpA9SGBAOhWEcRDEUBiEUBEEIQUhAhBMBIcKPED+Ga8cq" +
        "fRk28m37Woxy2tWKiPmrH4yilHbCloeENo/E0PLqR+qWYfltdlWpL8Pw2N9U4dUPmC3DQwbZVIfPXoZjII/twcGl054oF2WxUvUtTieFbCaCuoBXP0Jbhv" +
        "W3fzSJl+HC2N80yOBOvWX4vfYYk8PLsCUL7sJrwNJOgla5LFuGMc/ba6cRzXVjv3uVvPrpUMnKXiZKN1Yp+OqnRyx7ts4DeBnOM2l7zkdfD0q0ITp54lc/" +
        "WtK2Mv3ttR1Pqmy0w13w6ofpLkkb+uEBjXO3E96u2l6Bep97ouz4MlxAu65gWF798GwrE8NtsD0AZY/hTMRe/WjMbYeaVLXJjQ0eeMlqd7yx7+Bla5L+l+" +
        "EP2hg0MX/1w76tzEeGbZ0PuCN74AuXVz+TLVtfL8NgnFJuvFww7dREe/WzyQq2lb1Jt6Efrn7Wc3n1o81nVxv6uWnHdiXLzK9+Lhxv2sORqZdh/cAMbQIa" +
        "pB1qamO9cGY3mrDUXLJtp8Dhqx85Ft6Gk41jbK94469+9MmYZ0M/vb4MX9ZLsrnsi7RdyYxhcJcQytjg9rsftqy+ZXC3u+ptOEG5sduE9hg6C0ir78twiM" +
        "3mFkf0lrE30Cfj4A4Xt1f0WGVHTS9vcMdQb3D2nM9pkNz+/CzVokxMpm3R0l6Gi2erNCL94E4D07bO35myO96LfHCHNtC2wQ7VyVNLoARlBgCjQQNADboh" +
        "KzYl7/sE1BQIOaChO+yfAYE44WccQVofpJUM/78Mi9nYwDXUP7gz2TL8h+0xHP6XYSvQaGzE9e+50laU1b8dRNO2DCsONxPqfxmOW/Zj69+rH5Itw4Vs2y" +
        "v4X4aV7B5ow1T4aS7Z3f1/GW6B7Ft8PO5mka3z/FuGHyduOP2/DIerbGTm/6ufky3DzNr6V06rmwn5BUhsdgD2/5fhLeX60aC96/AvvvpZ3jKsB0ZASHvO" +
        "84eX4crHZkL/Vz8kW4aVfTGtrCM=",
    ),
  ],
  ["nothing", new Uint8Array(0), packed("KLUv/SQAAQAAmenYUQ==")],
  [
    "text packed in haste, no checksum",
    TEXT,
    packed(
      "KLUv/WBnAy0DAGQFQSBrZXJuZWwgaXMgdW5wYWNrZWQgb25jZS4gQSBrZXJuZWwgaXMgdW5wYWNrZWQgb25jZS4gS3MgYXJldHdpY2U7IGEga2VybmVsLC" +
        "B1bnBhY2tlZC4DADvk1QFyy+x/rtQe",
    ),
  ],
];
const LIMIT = 2 ** 20;

test("files of zstd", () => {
  for (const [name, contents, data] of FILES) {
    assert.ok(isZstd(data), name);
    assert.deepEqual(unpackZstd(data, LIMIT)?.slice(), contents, name);
    const size = contents.length;
    assert.deepEqual(unpackZstd(Uint8Array.of(...data, 1, 2, 3, 4), size, size)?.slice(), contents, `${name}, more behind`);
    for (const other of [size - 1, size + 1, 2 ** 30])
      assert.equal(unpackZstd(data, LIMIT, other), undefined, `${name}, not ${other}`);
    if (size) assert.equal(unpackZstd(data, size - 1), undefined, `${name}, too large`);
  }
});

test("truncated files", () => {
  for (const [name, , data] of FILES) {
    const step = Math.ceil(data.length / 300);
    for (let n = 0; n < data.length; n += step)
      assert.equal(unpackZstd(data.subarray(0, n), LIMIT), undefined, `${name}, ${n} bytes`);
  }
});

test("any byte changed: refused where there is a checksum, never an exception, never more than allowed", () => {
  for (const [name, contents, data] of FILES) {
    const step = Math.ceil(data.length / 200);
    for (let at = 0; at < data.length; at += step)
      for (const flip of [0x01, 0x08, 0x90, 0xff]) {
        const changed = data.slice();
        changed[at] = changed[at]! ^ flip;
        const got = unpackZstd(changed, LIMIT);
        const what = `${name}, byte ${at} ^ ${flip}`;
        // The header's bytes say how the rest is to be read: there, the same contents may come out, or no checksum be asked for.
        if (got && at > 6 && !/no checksum/.test(name)) assert.deepEqual(got.slice(), contents, what);
        assert.ok(!got || got.length <= LIMIT, what);
      }
  }
});

test("hostile frames", () => {
  const magic = [0x28, 0xb5, 0x2f, 0xfd];
  /** A block: type, size, bytes. */
  const block = (type: number, size: number, ...bytes: number[]) => {
    const header = (size << 3) | (type << 1) | 1;
    return [header & 255, (header >> 8) & 255, header >> 16, ...bytes];
  };
  const frame = (...blocks: number[]) => Uint8Array.of(...magic, 0, 0x58, ...blocks);
  for (const [name, data, want] of [
    ["a stored byte", frame(...block(0, 1, 7)), [7]],
    ["a repeated byte", frame(...block(1, 3, 7)), [7, 7, 7]],
    ["literals alone", frame(...block(2, 4, 0x10, 7, 8, 0)), [7, 8]],
    ["a repeated literal", frame(...block(2, 3, 0x19, 7, 0)), [7, 7, 7]],
    ["one sequence by RLE tables", frame(...block(2, 8, 0x10, 7, 8, 1, 0x54, 2, 2, 0)), undefined],
    ["a reserved block type", frame(...block(3, 1, 7)), undefined],
    ["a reserved header bit", Uint8Array.of(...magic, 8, 0x58, ...block(0, 1, 7)), undefined],
    ["a dictionary", Uint8Array.of(...magic, 1, 0x58, 5, ...block(0, 1, 7)), undefined],
    ["a block over 128 KiB", frame(...block(1, 0x20001, 7)), undefined],
    ["a content size of 2^60", Uint8Array.of(...magic, 0xe0, 0, 0, 0, 0, 0, 0, 0, 16, ...block(0, 1, 7)), undefined],
    ["an empty compressed block", frame(...block(2, 0)), undefined],
    ["literals past the block", frame(...block(2, 3, 0x50, 7, 0)), undefined],
    ["treeless literals with no tree", frame(...block(2, 5, 0x13, 0x40, 0, 1, 0)), undefined],
    ["bytes behind no sequences", frame(...block(2, 5, 0x10, 7, 8, 0, 9)), undefined],
    ["tables to repeat where none were", frame(...block(2, 6, 0x10, 7, 8, 1, 0xfc, 1)), undefined],
    ["a sequence without bits", frame(...block(2, 5, 0x10, 7, 8, 1, 0)), undefined],
    ["reserved modes", frame(...block(2, 6, 0x10, 7, 8, 1, 3, 0xff)), undefined],
    ["a Huffman table of zero weights", frame(...block(2, 8, 0x12, 0x00, 1, 0x81, 0, 0, 1, 0)), undefined],
    ["an accuracy of 20", frame(...block(2, 8, 0x10, 7, 8, 1, 0x80, 0x0f, 0xff, 0xff)), undefined],
    ["offset codes of 31", frame(...block(2, 9, 0x10, 7, 8, 1, 0x54, 0, 31, 0, 0xff)), undefined],
    ["no last block", Uint8Array.of(...magic, 0, 0x58, 0, 0, 0), undefined],
  ] as const)
    assert.deepEqual(unpackZstd(data, LIMIT)?.slice(), want && Uint8Array.from(want), name);
});
