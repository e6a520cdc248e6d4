/** Whoever subscribes owns the unsubscription. */
export interface Disposable {
  dispose(): void;
}

/** A synchronous event source with any number of listeners, called in the order of subscription. */
export class Emitter<T> {
  private listeners: ((value: T) => void)[] = [];

  on(listener: (value: T) => void): Disposable {
    this.listeners = [...this.listeners, listener];
    return {
      dispose: () => {
        this.listeners = this.listeners.filter((l) => l !== listener);
      },
    };
  }

  emit(value: T): void {
    for (const l of this.listeners) l(value);
  }
}
