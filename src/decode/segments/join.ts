export { joinTexts, jointOf } from "../../scripts.js";
export { withoutSilenceMarks } from "./silence-marks.js";
