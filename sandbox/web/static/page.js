// Starts what makes a page more than its forms and links, all of which work without.
import { follow } from "./live.js";
import { takeOverForms } from "./forms.js";
import { meterTexts } from "./composer.js";
import { offerCopies } from "./copy.js";
import { listenForKeys } from "./keys.js";
import { leadToPlaces } from "./editor.js";

document.documentElement.classList.add("js");
follow();
takeOverForms();
meterTexts();
offerCopies();
listenForKeys();
leadToPlaces();
