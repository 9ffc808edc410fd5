import { FunasrError } from "../errors.js";

/** A model cannot be downloaded, and is not in the cache. The message is one line with advice. */
export class HubError extends FunasrError {}

/** The hub cannot be reached or is out of order. A copy in the cache may be used. */
export class HubUnreachableError extends HubError {}
