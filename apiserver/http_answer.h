/* Answers over HTTP: objects, lists joined from stored bytes piece by piece, Tables, Statuses. */
#ifndef MINI_APISERVER_HTTP_ANSWER_H
#define MINI_APISERVER_HTTP_ANSWER_H

#include "apiserver/request.h"

extern const struct door http_door;

#endif
