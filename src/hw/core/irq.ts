/** Interrupt and reset wires between devices. */

/** A wire with a level. The receiving side passes `onChange`, the driving side calls `set`. */
export class IrqLine {
  level = false;
  /** How often it has gone high, for statistics. */
  rises = 0;
  constructor(private readonly onChange: (level: boolean) => void = () => {}) {}

  set(level: boolean): void {
    if (level === this.level) return;
    this.level = level;
    if (level) this.rises++;
    this.onChange(level);
  }

  raise(): void {
    this.set(true);
  }

  lower(): void {
    this.set(false);
  }

  /** An edge: up, then down. */
  pulse(): void {
    this.set(true);
    this.set(false);
  }
}

/** Several drivers on one wire: it is high while any is (level-triggered, shared lines). */
export class OrIrq {
  private readonly inputs: IrqLine[] = [];
  constructor(private readonly out: IrqLine) {}

  input(): IrqLine {
    const line = new IrqLine(() => this.out.set(this.high));
    this.inputs.push(line);
    return line;
  }

  get high(): boolean {
    return this.inputs.some((line) => line.level);
  }

  /** After a restore, in which drivers and receivers have set their levels themselves: the wire follows, untold. */
  sync(): void {
    this.out.level = this.high;
  }
}
