import { aishell1 } from "./aishell1.js";
import type { Corpus } from "./corpus.js";
import { covost2 } from "./covost2.js";
import { aishell2, kaldi } from "./kaldi.js";
import { librispeech } from "./librispeech.js";
import { stm } from "./stm.js";
import { wenetspeech } from "./wenetspeech.js";

/** Corpora by their names on the command line. */
export const CORPORA = {
  aishell1,
  aishell2,
  wenetspeech,
  covost2,
  librispeech,
  kaldi,
  stm,
} as const satisfies Record<string, Corpus>;
