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

/** A template comes from a stranger: Qwen3's has 4 KB. */
const mostCharacters = 65_536;
/** The library searches for the tag {% generation %} with the square of each run of white space. */
const mostSpaces = 1024;

/** Characters that a template may write by itself, beside this many times what it is given: the tokenizer takes seconds for a million. */
const mostOwnText = 65_536;
const mostCopies = 4;

/** A parsed chat template. */
export interface ChatTemplate {
  /** @throws Error  it calls what is not there or raises an exception; TemplateLimitError  it runs too long, or writes too much */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** @throws Error  no Jinja; TemplateLimitError  longer than 65,536 characters, or more than 1024 of white space in a row */
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
      const most = mostOwnText + mostCopies * textLength(variables);
      if (text.length > most)
        throw new TemplateLimitError(`a prompt of ${text.length} characters, at most ${most} are taken`);
      return text;
    },
  };
}

/** Characters of all texts in what the caller gives. */
function textLength(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((sum: number, part) => sum + textLength(part), 0);
}

/** Jinja's names for a chat template; no clock, for a prompt that changes from day to day cannot be reproduced. */
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
