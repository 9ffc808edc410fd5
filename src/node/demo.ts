import { fileURLToPath } from "node:url";

/** Directory of the demo checkpoint that ships with the package. */
export const demoModel = fileURLToPath(new URL("../../models/demo", import.meta.url));

/** Directory of the voice activity net that ships with the package. */
export const vadModel = fileURLToPath(new URL("../../models/vad", import.meta.url));
