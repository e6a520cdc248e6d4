/** A source of time. */
export interface HostClock {
  /** Monotonic time in nanoseconds since an arbitrary start (a double: exact to 2^53 ns = 104 days). */
  monotonicNs(): number;
  /** Wall-clock time in milliseconds since 1970-01-01 UTC. */
  wallMs(): number;
}
