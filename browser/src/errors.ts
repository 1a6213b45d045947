/** A file that is no picture for this page; its message is one line for the reader. */
export class BitstreamError extends Error {}
