/** All instruction rows. */
export {};
