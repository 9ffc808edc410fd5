/** Where the transcript stands in a request; without it, at its end. */
const SLOT = "{text}";

/** The request that has an LLM answer a transcript: the wording with the transcript in its place. */
export function answerRequest(wording: string, transcript: string): string {
  return wording.includes(SLOT) ? wording.replaceAll(SLOT, () => transcript) : wording + transcript;
}

/** What an LLM said, and whether it came to its end. */
export interface Answer {
  readonly text: string;
  readonly complete: boolean;
}

/** An LLM's answers to transcripts, each transcript asked once; to no words, no words. */
export function answerer(
  wording: string,
  ask: (request: string) => Promise<Answer>,
): (transcript: string) => Promise<Answer> {
  const known = new Map<string, Answer>();
  return async (transcript) => {
    if (transcript === "") return { text: "", complete: true };
    const answer = known.get(transcript) ?? (await ask(answerRequest(wording, transcript)));
    known.set(transcript, answer);
    return answer;
  };
}
