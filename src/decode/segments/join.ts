export { joinTexts, jointOf } from "../../scripts.js";

/** What models write where nobody speaks, in place of words. */
const SILENCE_MARKS =
  /\/sil(?![\p{L}\p{N}])|(?<![\p{Script=Latin}\p{N}])\/(?:spk|noise)(?![\p{L}\p{N}])|<\|?(?:sil|silence|nospeech|noise)\|?>|\[(?:sil|silence|noise|blank_audio)\]/giu;

/** A text without the marks of silence that are no words, such as `/sil`. */
export function withoutSilenceMarks(text: string): string {
  const kept = text.replace(SILENCE_MARKS, "");
  return kept === text ? text : kept.replace(/ {2,}/g, " ").trim();
}
