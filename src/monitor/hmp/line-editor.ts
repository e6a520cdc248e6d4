/**
 * A line editor for a terminal on the other side of a byte stream: Emacs keys, arrows, history, completion.
 * Source: ECMA-48 for the sequences.
 */

const HISTORY_LIMIT = 64;
const CSI = "\x1b[";

export interface LineEditorHost {
  write(text: string): void;
  /** A finished line. */
  line(text: string): void;
  complete(text: string): readonly string[];
}

export class LineEditor {
  private text = "";
  private cursor = 0;
  private readonly history: string[] = [];
  private historyAt = 0;
  private stashed = "";
  private escape = "";
  private lastCr = false;

  constructor(
    private readonly host: LineEditorHost,
    readonly prompt: string,
    private readonly limit: number,
  ) {}

  /** Shows the prompt and what has been typed. */
  show(): void {
    this.host.write(this.prompt + this.text);
    this.back(this.text.length - this.cursor);
  }

  /** One byte from the terminal. */
  byte(b: number): void {
    const afterCr = this.lastCr;
    this.lastCr = b === 13;
    if (this.escape !== "") {
      this.escapeByte(String.fromCharCode(b));
      return;
    }
    switch (b) {
      case 10:
        // CR LF is one end of line.
        if (!afterCr) this.finish();
        return;
      case 13:
        return this.finish();
      case 27:
        this.escape = "\x1b";
        return;
      case 1:
        return this.move(0);
      case 2:
        return this.move(this.cursor - 1);
      case 4:
        return this.remove(this.cursor, this.cursor + 1);
      case 5:
        return this.move(this.text.length);
      case 6:
        return this.move(this.cursor + 1);
      case 8:
      case 127:
        return this.remove(this.cursor - 1, this.cursor);
      case 9:
        return this.tab();
      case 11:
        return this.remove(this.cursor, this.text.length);
      case 12:
        this.host.write(`${CSI}2J${CSI}1;1H`);
        return this.show();
      case 14:
        return this.recall(1);
      case 16:
        return this.recall(-1);
      case 21:
        return this.remove(0, this.cursor);
      case 23:
        return this.remove(this.wordStart(), this.cursor);
    }
    if (b >= 32) this.insert(String.fromCharCode(b));
  }

  private escapeByte(c: string): void {
    const sequence = this.escape + c;
    if ((sequence.length === 2 && (c === "[" || c === "O")) || /^\[[0-9;]*$/.test(sequence.slice(1))) {
      // Parameters without end are nothing we know; they are read over.
      this.escape = sequence.slice(0, 16);
      return;
    }
    this.escape = "";
    switch (sequence.slice(1)) {
      case "[A":
      case "OA":
        return this.recall(-1);
      case "[B":
      case "OB":
        return this.recall(1);
      case "[C":
      case "OC":
        return this.move(this.cursor + 1);
      case "[D":
      case "OD":
        return this.move(this.cursor - 1);
      case "[H":
      case "OH":
      case "[1~":
        return this.move(0);
      case "[F":
      case "OF":
      case "[4~":
        return this.move(this.text.length);
      case "[3~":
        return this.remove(this.cursor, this.cursor + 1);
      case "b":
        return this.move(this.wordStart());
    }
  }

  private back(n: number): void {
    if (n > 0) this.host.write(`${CSI}${n}D`);
  }

  private move(to: number): void {
    const target = Math.max(0, Math.min(this.text.length, to));
    if (target > this.cursor) this.host.write(this.text.slice(this.cursor, target));
    else this.back(this.cursor - target);
    this.cursor = target;
  }

  private insert(s: string): void {
    if (this.text.length + s.length > this.limit) return;
    const tail = this.text.slice(this.cursor);
    this.text = this.text.slice(0, this.cursor) + s + tail;
    this.cursor += s.length;
    this.host.write(s + tail);
    this.back(tail.length);
  }

  private remove(from: number, to: number): void {
    const start = Math.max(0, from);
    const end = Math.min(this.text.length, to);
    if (start >= end) return;
    this.move(start);
    const tail = this.text.slice(end);
    this.text = this.text.slice(0, start) + tail;
    this.host.write(`${tail}${CSI}K`);
    this.back(tail.length);
  }

  private replace(text: string): void {
    this.move(0);
    this.host.write(`${text}${CSI}K`);
    this.text = text;
    this.cursor = text.length;
  }

  private wordStart(): number {
    return /\S*\s*$/.exec(this.text.slice(0, this.cursor))!.index;
  }

  private recall(step: number): void {
    const next = this.historyAt + step;
    if (next < 0 || next > this.history.length) return;
    if (this.historyAt === this.history.length) this.stashed = this.text;
    this.historyAt = next;
    this.replace(this.history[next] ?? this.stashed);
  }

  private tab(): void {
    const head = this.text.slice(0, this.cursor);
    const word = /\S*$/.exec(head)![0];
    const found = this.host.complete(head);
    if (found.length === 0) return;
    let common = found[0]!;
    for (const f of found) while (!f.startsWith(common)) common = common.slice(0, -1);
    if (found.length === 1) common += " ";
    if (common.length > word.length) {
      this.insert(common.slice(word.length));
      return;
    }
    this.host.write(`\r\n${found.join("  ")}\r\n`);
    this.show();
  }

  private finish(): void {
    const line = this.text;
    this.text = "";
    this.cursor = 0;
    this.host.write("\r\n");
    if (line.trim() !== "" && this.history.at(-1) !== line) {
      this.history.push(line);
      if (this.history.length > HISTORY_LIMIT) this.history.shift();
    }
    this.historyAt = this.history.length;
    this.host.line(line);
  }
}
