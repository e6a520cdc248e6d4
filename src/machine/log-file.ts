/** A text or byte log on the host, written in order in the background: `-D`, `logfile=`. */
import type { HostFile, HostFiles } from "../host/file.js";

/** What may wait for the disk; beyond it lines are lost, and a line says how many bytes. */
const LIMIT_BYTES = 16 * 2 ** 20;

export class LogFile {
  private queue: Uint8Array[] = [];
  private queued = 0;
  private lost = 0;
  private writing: Promise<void> | undefined;
  private readonly encoder = new TextEncoder();

  private constructor(
    private readonly file: HostFile,
    private offset: number,
    private readonly onError: (error: unknown) => void,
    private readonly binary: boolean,
  ) {}

  /** `binary`: lost bytes leave no note. @throws VmError of the host */
  static async open(
    files: HostFiles,
    path: string,
    append: boolean,
    onError: (error: unknown) => void,
    binary = false,
  ): Promise<LogFile> {
    let end = 0;
    if (append) {
      try {
        const old = await files.open(path, { readOnly: true, lock: false });
        end = old.sizeBytes;
        await old.close();
      } catch {
        // Not there yet.
      }
    }
    const file = await files.open(path, { readOnly: false, lock: false, create: end === 0 });
    return new LogFile(file, end, onError, binary);
  }

  line(text: string): void {
    this.write(this.encoder.encode(`${text}\n`));
  }

  write(data: Uint8Array): void {
    if (this.queued + data.length > LIMIT_BYTES) {
      this.lost += data.length;
      return;
    }
    if (this.lost > 0 && !this.binary) {
      const note = this.encoder.encode(`[${this.lost} bytes lost]\n`);
      this.lost = 0;
      this.queue.push(note);
      this.queued += note.length;
    }
    this.queue.push(data.slice());
    this.queued += data.length;
    this.writing ??= this.drain();
  }

  private async drain(): Promise<void> {
    try {
      while (this.queue.length > 0) {
        const chunks = this.queue;
        const all = new Uint8Array(this.queued);
        this.queue = [];
        this.queued = 0;
        let pos = 0;
        for (const c of chunks) {
          all.set(c, pos);
          pos += c.length;
        }
        await this.file.write(this.offset, all);
        this.offset += all.length;
      }
    } catch (error) {
      this.queue = [];
      this.queued = 0;
      this.onError(error);
    } finally {
      this.writing = undefined;
    }
  }

  /** Writes what is left and closes. */
  async close(): Promise<void> {
    while (this.writing) await this.writing;
    await this.file.close();
  }
}
