// Starts what makes a page more than its forms and links, all of which work without.
import { follow } from "./live.js";
import { takeOverForms } from "./forms.js";
import { meterTexts } from "./composer.js";
import { offerCopies } from "./copy.js";
import { listenForKeys } from "./keys.js";
import { countDown } from "./countdown.js";
import { offerNewest } from "./place.js";
import { offerNotifications } from "./notify.js";

document.documentElement.classList.add("js");
follow();
takeOverForms();
meterTexts();
offerCopies();
countDown();
offerNewest();
listenForKeys(); // these two need the browser's storage, which it may deny
offerNotifications();
