import {
  Environment as UntypedEnvironment,
  Interpreter as UntypedInterpreter,
  parse as untypedParse,
  tokenize as untypedTokenize,
} from "@huggingface/jinja";

/** What is used of the package, whose own declarations do not resolve under nodenext (imports without ".js"). */
interface Value {
  readonly value: unknown;
}
interface Environment {
  set(name: string, value: unknown): void;
}
interface Interpreter {
  run(program: unknown): Value;
  evaluate(node: unknown, environment: Environment): Value;
}
const LibraryEnvironment = UntypedEnvironment as unknown as new () => Environment;
const LibraryInterpreter = UntypedInterpreter as unknown as new (environment: Environment) => Interpreter;
const tokenize = untypedTokenize as unknown as (template: string, options: object) => unknown;
const parse = untypedParse as unknown as (tokens: unknown) => unknown;

/** A template comes from a stranger: Qwen3's has 4 KB and takes some 300 steps. */
const mostCharacters = 65_536;
const mostSteps = 200_000; // a second at most
const mostText = 1 << 20;
const mostItems = 10_000;

/** A template asks for more than a prompt can need. */
export class TemplateLimitError extends Error {}

/** A parsed chat template. */
export interface ChatTemplate {
  /** @throws Error  it calls what is not there or raises an exception; TemplateLimitError  it runs too long */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** @throws Error  no Jinja; TemplateLimitError  longer than 65,536 characters */
export function parseTemplate(text: string): ChatTemplate {
  if (text.length > mostCharacters)
    throw new TemplateLimitError(`${text.length} characters, at most ${mostCharacters} are taken`);
  const program = parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
  return {
    render(variables) {
      const environment = new LibraryEnvironment();
      for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
      return new BoundedInterpreter(environment).run(program).value as string;
    },
  };
}

/** Jinja's names for a chat template; no clock, for a prompt that changes from day to day cannot be reproduced. */
const globals: Readonly<Record<string, unknown>> = {
  ...{ true: true, false: false, none: null, True: true, False: false, None: null },
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

/** Counts steps; a list costs its length, as a loop may run over it, and a text a 64th of it. */
class BoundedInterpreter extends LibraryInterpreter {
  #steps = 0;

  override evaluate(node: unknown, environment: Environment): Value {
    const result = super.evaluate(node, environment);
    const { value } = result;
    if (typeof value === "string") {
      if (value.length > mostText)
        throw new TemplateLimitError(`a text of ${value.length} characters, at most ${mostText} are taken`);
      this.#steps += value.length / 64;
    } else if (Array.isArray(value)) this.#steps += value.length;
    else if (value instanceof Map) this.#steps += value.size;
    if (++this.#steps > mostSteps)
      throw new TemplateLimitError(`more than ${mostSteps} steps, no more are taken`);
    return result;
  }
}
