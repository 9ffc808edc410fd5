// A process of its own that resolves a model: node --import tsx hub-child.ts OWNER/NAME. Prints the
// directory or the error.
import { resolveModel } from "../../src/hub/resolve.js";

try {
  const path = await resolveModel(process.argv[2], {
    onNote: (text) => void process.stderr.write(`${text}\n`),
  });
  console.log(path);
} catch (error) {
  console.log(error instanceof Error ? `${error.name}: ${error.message}` : error);
  process.exitCode = 1;
}
