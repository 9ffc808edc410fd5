import type { Item } from "../item.js";

/** An utterance of the input, not yet numbered or cut. */
export type NewItem = Omit<Item, "index" | "piece">;

/** What an input has: an utterance, or a line without one. */
export type Found = { readonly item: NewItem } | { readonly skipped: string; readonly why: string };
