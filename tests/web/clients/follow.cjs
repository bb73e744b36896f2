// Follows a feed with the EventSource of npm's package of that name, which reconnects by itself, and
// prints each message as a line of JSON: event, id, data.
"use strict";
const { EventSource } = require("eventsource");

const source = new EventSource(process.argv[2]);
for (const event of ["message", "gap", "reset", "end"]) {
  source.addEventListener(event, message => {
    console.log(JSON.stringify([message.type, message.lastEventId, message.data]));
  });
}
