/** Tests on real input: files of Debian packages, that `.ci/run` installs and a developer's machine may lack. */
import { existsSync } from "node:fs";
import { type TestContext, test } from "node:test";

/** A file or folder that a test needs, and the package that has it. */
export interface PackageFile {
  readonly package: string;
  readonly path: string;
}

const inCi = process.env.CI === "true";

/**
 * Whether a package's file is there. If not, the test is skipped with a line that names the package, and the caller must
 * return; where CI=true it fails instead.
 */
export function needsPackage(t: TestContext, packageName: string, path: string): boolean {
  if (existsSync(path)) return true;
  const line = `needs Debian package ${packageName} (${path})`;
  if (inCi) throw new Error(line);
  t.skip(line);
  return false;
}

/** A test that needs packages: skipped, or failed in CI, when one is missing. */
export function debianTest(name: string, needs: readonly PackageFile[], body: (t: TestContext) => void | Promise<void>): void {
  test(name, async (t) => {
    for (const n of needs) if (!needsPackage(t, n.package, n.path)) return;
    await body(t);
  });
}
