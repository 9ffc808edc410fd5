import { parse as untypedParse, tokenize as untypedTokenize } from "@huggingface/jinja";
import {
  BoundedInterpreter,
  LibraryEnvironment,
  TemplateLimitError,
  mostItems,
} from "./bounded-interpreter.js";

const tokenize = untypedTokenize as unknown as (template: string, options: object) => unknown;
const parse = untypedParse as unknown as (tokens: unknown) => unknown;

export { TemplateLimitError } from "./bounded-interpreter.js";

/** Longest template. Qwen3's has 4 KB. */
const mostCharacters = 65_536;
/** Longest run of white space. The library takes quadratic time for it. */
const mostSpaces = 1024;

/** Longest prompt: this many characters, and so many times its variables. */
const mostAddedText = 65_536;
const mostCopies = 4;

/** A parsed chat template. */
export interface ChatTemplate {
  /** @throws Error  an unknown name or an exception; TemplateLimitError  a limit is exceeded */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** @throws Error  not Jinja; TemplateLimitError  too long, or too much white space in a row */
export function parseTemplate(text: string): ChatTemplate {
  if (text.length > mostCharacters)
    throw new TemplateLimitError(`${text.length} characters, at most ${mostCharacters} are taken`);
  const run = text.match(/\s+/g)?.find(({ length }) => length > mostSpaces);
  if (run)
    throw new TemplateLimitError(
      `${run.length} characters of white space in a row, at most ${mostSpaces} are taken`,
    );
  const program = parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
  return {
    render(variables) {
      const environment = new LibraryEnvironment();
      for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
      const text = new BoundedInterpreter(environment).run(program).value as string;
      const most = mostAddedText + mostCopies * textLength(variables);
      if (text.length > most)
        throw new TemplateLimitError(`a prompt of ${text.length} characters, at most ${most} are taken`);
      return text;
    },
  };
}

/** Characters of all texts in a value. */
function textLength(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((sum: number, part) => sum + textLength(part), 0);
}

/** Jinja's names for a chat template. Without a clock, a prompt can be reproduced. */
const globals: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  raise_exception: (message: string) => {
    throw new Error(message);
  },
};

function range(first: number, end?: number, step = 1): number[] {
  const [start, stop] = end === undefined ? [0, first] : [first, end];
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= mostItems))
    throw new TemplateLimitError(`range of ${count}, at most ${mostItems} are taken`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}
