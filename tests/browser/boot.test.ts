/**
 * The page in Chromium: the embedded guest starts inside it, its shell answers, its screen is drawn.
 * Skipped where there is no Chromium (set CHROMIUM to its path, default /usr/bin/chromium).
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { chromium, type Page } from "playwright-core";
// @ts-expect-error: a plain script
import { buildWeb } from "../../tools/build-web.mjs";
// @ts-expect-error: a plain script
import { serveFolder } from "../../tools/serve-web.mjs";

const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-extensions",
  "--disable-sync",
  "--no-first-run",
  "--no-default-browser-check",
];
const BOOT_MS = 120_000;
const ANSWER_MS = 20_000;
const PROMPT = /~ # $/;

/** Waits for the console's text to match; fails with its end. */
async function waitForText(page: Page, wanted: RegExp, timeoutMs: number): Promise<string> {
  const text = () => page.evaluate(() => (globalThis as unknown as { tandem: { consoleText(): string } }).tandem.consoleText());
  try {
    await page.waitForFunction(
      ({ source, flags }) => {
        const { tandem } = globalThis as unknown as { tandem: { consoleText(): string } };
        return new RegExp(source, flags).test(`${tandem.consoleText()} `);
      },
      { source: wanted.source, flags: wanted.flags },
      { timeout: timeoutMs, polling: 200 },
    );
  } catch {
    const status = await page.textContent("#status");
    const detail = await page.textContent("#detail");
    assert.fail(`no ${wanted} on the console; ${status}: ${detail}\n${(await text()).slice(-2000)}`);
  }
  return text();
}

const LIMITS = { skip: existsSync(BROWSER) ? false : `no ${BROWSER}`, timeout: 300_000 };

/** The built page in a browser; everything is taken down with the test. */
async function openPage(t: TestContext): Promise<{ page: Page; errors: string[] }> {
  const folder = await mkdtemp(path.join(tmpdir(), "tandem-web-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await buildWeb(folder);
  const server = await serveFolder(folder);
  t.after(() => server.close());
  const browser = await chromium.launch({ executablePath: BROWSER, headless: true, args: ARGS });
  t.after(() => browser.close());
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (e) => errors.push(String(e)));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return { page, errors };
}

test("the embedded guest boots in a page", {
  skip: existsSync(BROWSER) ? false : `no ${BROWSER}`,
  timeout: 300_000,
}, async (t) => {
  const { page, errors } = await openPage(t);
  assert.equal(await page.evaluate("crossOriginIsolated"), true);
  await page.click("#start");
  await waitForText(page, PROMPT, BOOT_MS);

  await page.focus("#terminal textarea");
  await page.keyboard.type("uname -m\n");
  await waitForText(page, /uname -m\nx86_64\n~ # $/, ANSWER_MS);
  await page.keyboard.type("echo $((6*7))\n");
  await waitForText(page, /\n42\n~ # $/, ANSWER_MS);

  // Paused, nothing is echoed; resumed, what was typed arrives.
  await page.click("#pause");
  await page.waitForSelector('#status[data-status="paused"]', { timeout: ANSWER_MS });
  await page.click("#pause");
  await page.waitForSelector('#status[data-status="running"]', { timeout: ANSWER_MS });

  await page.click("#tab-screen");
  // The BIOS has left its messages there: something is lit.
  await page.waitForFunction(
    `(() => {
      const canvas = document.getElementById("screen");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((v, i) => i % 4 !== 3 && v > 0);
    })()`,
    undefined,
    { timeout: ANSWER_MS },
  );
  await page.click("#tab-console");
  await page.focus("#terminal textarea");
  await page.keyboard.type("poweroff -f\n");
  await page.waitForSelector('#status[data-status="stopped"]', { timeout: ANSWER_MS });
  assert.deepEqual(errors, []);
});

test("a disk image the user chose boots through the BIOS", LIMITS, async (t) => {
  const { page, errors } = await openPage(t);
  const image = Buffer.alloc(2 ** 20);
  // mov dx, 3f8h; mov si, 7c0eh; lodsb; out dx, al; test al, al; jnz lodsb; hlt: the text behind it goes to COM1.
  image.set([0xba, 0xf8, 0x03, 0xbe, 0x0e, 0x7c, 0xac, 0xee, 0x84, 0xc0, 0x75, 0xfa, 0xf4, 0x90]);
  image.write("from the disk\n\0", 14);
  image.set([0x55, 0xaa], 510);
  await page.click("summary");
  await page.setInputFiles("#disk", { name: "disk.img", mimeType: "application/octet-stream", buffer: image });
  await page.click("#start");
  await waitForText(page, /from the disk/, ANSWER_MS);
  await page.click("#quit");
  await page.waitForSelector('#status[data-status="stopped"]', { timeout: ANSWER_MS });
  assert.deepEqual(errors, []);
});
