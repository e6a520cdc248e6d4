/** When things run: the host's event loop as the machine sees it. */
export interface HostScheduler {
  /** Runs `task` after host I/O that is ready has had its turn; the run loop gives way with it between slices. */
  soon(task: () => void): void;
  /**
   * Runs `task` after at least `delayMs` (fractions allowed, as precise as the host is); a long delay keeps the process
   * alive. @returns cancels it
   */
  after(delayMs: number, task: () => void): () => void;
}
