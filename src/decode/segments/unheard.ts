import type { Transcription } from "../transcriber.js";
import { wordsOf } from "./doubt.js";

const MOST_AGREEMENT = 1 / 3;
const MOST_CONFIDENCE = 0.1;
const MOST_WORDS = 1 / 2;

/**
 * Whether the CTC head heard nothing of a text, as where a model invents one and nobody speaks: it
 * is confident of no word, and its own text is another one with at most half as many words. Texts
 * of as many words may differ only in spelling: digits, homophones.
 * @returns  false without a head
 */
export function isUnheard(answer: Pick<Transcription, "text" | "words" | "agreement" | "ctcText">): boolean {
  const { text, words = [], agreement, ctcText } = answer;
  if (text === "" || ctcText === undefined || agreement === undefined) return false;
  if (agreement > MOST_AGREEMENT || wordsOf(ctcText) > MOST_WORDS * wordsOf(text)) return false;
  const sum = words.reduce((total, { confidence }) => total + confidence, 0);
  return sum <= MOST_CONFIDENCE * words.length;
}
