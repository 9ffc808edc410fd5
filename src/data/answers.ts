/** The transcript's position in a request. Default: at the end. */
const SLOT = "{text}";

/** A request to an LLM: the wording with the transcript. */
function answerRequest(wording: string, transcript: string): string {
  return wording.includes(SLOT) ? wording.replaceAll(SLOT, () => transcript) : wording + transcript;
}

/** An LLM's answer, and whether it is complete. */
export interface Answer {
  readonly text: string;
  readonly complete: boolean;
}

/** Answers transcripts with an LLM, each once. An empty transcript has an empty answer. */
export function answerer(
  wording: string,
  ask: (request: string) => Promise<Answer>,
): (transcript: string) => Promise<Answer> {
  const answers = new Map<string, Answer>();
  return async (transcript) => {
    if (transcript === "") return { text: "", complete: true };
    const answer = answers.get(transcript) ?? (await ask(answerRequest(wording, transcript)));
    answers.set(transcript, answer);
    return answer;
  };
}
