"""Where work enters a service: web requests and jobs, bound to whom they are for, their answers told.

``asgi`` and ``wsgi`` are middleware for any framework, ``fastapi`` and ``flask`` short ways of saying the
same;
``jobs`` carries trace and binding over a queue, and ``celery`` and ``rq`` do that by themselves.
"""
