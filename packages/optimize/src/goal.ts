/** What the recommended variant must be better at than the original. */
export type Goal = 'latency' | 'size';
