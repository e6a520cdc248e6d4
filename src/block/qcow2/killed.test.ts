import { debianTest } from "../../../testkit/debian.js";
import { imageFolder, QEMU_IMG } from "../test-images.js";
import { killWriters } from "../test-killing.js";

const at = imageFolder();

for (const layout of ["cluster_size=64k", "cluster_size=4k", "lazy_refcounts=on", "extended_l2=on"])
  debianTest(`hostile 25: kill -9 during writes, three times: ${layout}`, [QEMU_IMG], () =>
    killWriters(at("k.qcow2"), layout, 3, 11),
  );
