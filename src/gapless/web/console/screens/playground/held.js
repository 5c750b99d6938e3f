/** The tokens that are tried. They are held here as long as the page is open, and never stand in its address. */
import { signal } from "../../lib.js";

export const connectionToken = signal("");
export const subscriptionToken = signal("");
