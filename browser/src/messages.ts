/** What the page and its worker say to each other. */

import type { Description, Picture } from "./codec";

/** Files as base64 of gzip. */
export interface Model {
  description: Description;
  integers: string;
  synthesis: string;
}

export interface Opening {
  model: Model;
  kernel: string;
  runtime: string;
}

export interface Request {
  id: number;
  wanted: "picture" | "latents";
  stream: Uint8Array;
}

export type Answer =
  | { id: number; picture: Picture; seconds: number }
  | { id: number; latents: Float64Array }
  | { id: number; refusal: string };
