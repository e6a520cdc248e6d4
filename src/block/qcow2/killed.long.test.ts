import { debianTest } from "../../../testkit/debian.js";
import { imageFolder, QEMU_IMG } from "../test-images.js";
import { killWriters } from "../test-killing.js";

const at = imageFolder();
const LAYOUTS = [
  "cluster_size=64k",
  "cluster_size=4k",
  "cluster_size=512",
  "lazy_refcounts=on",
  "extended_l2=on",
  "compat=0.10",
  "cluster_size=2M",
  "refcount_bits=64,cluster_size=1k",
];

/** Two hundred in all. */
for (const [i, layout] of LAYOUTS.entries())
  debianTest(`hostile 25: kill -9 during writes, 25 times: ${layout}`, [QEMU_IMG], () =>
    killWriters(at("k.qcow2"), layout, 25, 1000 * (i + 1)),
  );
